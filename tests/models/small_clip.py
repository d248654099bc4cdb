"""A small model that OpenCLIP makes by itself, with its own tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch

NAME = "small-clip-test"
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


def write_checkpoint(folder: Path) -> Path:
    """Make the configuration known to OpenCLIP and write seeded random weights."""
    (folder / "configs").mkdir(parents=True)
    (folder / f"configs/{NAME}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / "configs")
    torch.manual_seed(0)
    torch.save({"state_dict": open_clip.create_model(NAME).state_dict()}, folder / "epoch_1.pt")
    return folder / "epoch_1.pt"
