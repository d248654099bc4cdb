"""HELIP (arXiv 2305.05208): its spellings of the mining and training flags, and its encoders."""

from __future__ import annotations

import importlib.util

from hardpairs.compat.spelling import System, same
from hardpairs.core.errors import usage

IMAGE_ENCODER = "timm/vit_small_patch14_reg4_dinov2.lvd142m"
TEXT_ENCODER = "sentence-transformers/all-mpnet-base-v2"
IMAGE_SIZE, IMAGE_CROP = 224, 0.875
"""HELIP resizes an image to 256 pixels and takes the 224 in the middle."""
INSTEAD = (
    "or embed with an OpenCLIP model: --model M --pretrained P; or give --embeddings, which "
    "hardpairs embed makes with any encoders"
)

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
    command_presets={
        "mine": {
            "helip": (
                *("--topk", "100"),
                *("--approx", "3000000", "--approx-targets", "300000"),
            )
        },
        "embed": {
            "helip": (
                *("--image-encoder", IMAGE_ENCODER, "--image-size", str(IMAGE_SIZE)),
                *("--image-crop", str(IMAGE_CROP), "--text-encoder", TEXT_ENCODER),
            )
        },
    },
    note="All other flags of its training are OpenCLIP's.",
)


def encoders() -> dict[str, str | int | float]:
    """Return the arguments that open HELIP's encoders (section 4).

    They are DINOv2 ViT-S/14 with registers and all-mpnet-base-v2, from the cache of Hugging Face or
    fetched there. HELIP's published code asks for DINOv2's linear classifier, whose output is 1,000
    class logits; these are the features.

    Raises:
        UserError: Exit 2 without sentence-transformers.
    """
    if importlib.util.find_spec("sentence_transformers") is None:
        raise usage(
            "the data set is not embedded yet, and HELIP's text encoder all-mpnet-base-v2 needs "
            "sentence-transformers, which is not installed",
            fix=f"pip install sentence-transformers; {INSTEAD}",
        )
    return {
        "image_encoder": IMAGE_ENCODER,
        "image_size": IMAGE_SIZE,
        "image_crop": IMAGE_CROP,
        "text_encoder": TEXT_ENCODER,
    }
