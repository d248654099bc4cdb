"""HELIP's own encoders (arXiv:2305.05208, section 4): DINOv2 ViT-S/14 with registers, and all-mpnet-base-v2, at HELIP's 224 pixels.

Its published code asks the hub for DINOv2's linear classifier, whose output is 1,000 class logits; these are the features.
"""

from __future__ import annotations

import importlib.util

from huggingface_hub import try_to_load_from_cache

IMAGE = "timm/vit_small_patch14_reg4_dinov2.lvd142m"
TEXT = "sentence-transformers/all-mpnet-base-v2"
IMAGE_SIZE = 224


def helip_encoders() -> dict[str, str | int] | None:
    """Arguments of ``open_encoders``, where both models are on disk and can be read; else ``None``."""
    there = isinstance(try_to_load_from_cache(IMAGE, "model.safetensors"), str) and isinstance(
        try_to_load_from_cache(TEXT, "modules.json"), str
    )
    if not there or importlib.util.find_spec("sentence_transformers") is None:
        return None
    return {"image_encoder": IMAGE, "image_size": IMAGE_SIZE, "text_encoder": TEXT}
