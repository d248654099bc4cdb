"""HELIP (arXiv 2305.05208): its spellings of the mining and training flags, and its encoders."""

from __future__ import annotations

from hardpairs.compat.spelling import System, same

HELIP = System(
    title="HELIP (arXiv 2305.05208, github.com/haonan3/HELIP-NAACL-2025)",
    spellings={
        "mine": {
            "--dataset": same(),
            "--save_path": same(),
            "--topk": same(),
            "--mining_method": same(),
            "--approx": same(),
            "--start_tar": same(),
            "--end_tar": same(),
        },
        "embed": {"--start_tar": same(), "--end_tar": same()},
        "train": {"--use-hard": same(), "--hard-dict-dir": same()},
    },
    note="All other flags of its training are OpenCLIP's.",
)

IMAGE_ENCODER = "timm/vit_small_patch14_reg4_dinov2.lvd142m"
TEXT_ENCODER = "sentence-transformers/all-mpnet-base-v2"
IMAGE_SIZE = 224


def cached_encoders() -> dict[str, str | int] | None:
    """Return the arguments that open HELIP's encoders (section 4), or ``None``.

    The encoders are DINOv2 ViT-S/14 with registers and all-mpnet-base-v2. HELIP's published code
    asks for DINOv2's linear classifier, whose output is 1,000 class logits; these are the features.
    ``None`` means that a model is not in the cache, or that sentence-transformers is not installed.
    """
    import importlib.util

    from huggingface_hub import try_to_load_from_cache

    files = ((IMAGE_ENCODER, "model.safetensors"), (TEXT_ENCODER, "modules.json"))
    cached = all(isinstance(try_to_load_from_cache(*file), str) for file in files)
    if not cached or importlib.util.find_spec("sentence_transformers") is None:
        return None
    return {
        "image_encoder": IMAGE_ENCODER,
        "image_size": IMAGE_SIZE,
        "text_encoder": TEXT_ENCODER,
    }
