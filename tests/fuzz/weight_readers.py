"""Readers of checkpoints and weights."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from hardpairs.models.checkpoint import (
    checkpoint_image_size,
    checkpoint_preprocess,
    checkpoint_vocabulary,
    checkpoint_weights,
)
from hardpairs.models.weight_files import save_checkpoint, save_safetensors
from hardpairs.training.checkpoint_fit import check_optimizer, check_weights
from tests.fuzz.mutations import changed
from tests.fuzz.reader import Reader, saved

MODEL = nn.Linear(3, 2)
OPTIMIZER = torch.optim.AdamW(MODEL.parameters())
CONTENT = {
    **{"epoch": 1, "name": "run", "state_dict": MODEL.state_dict()},
    **{"optimizer": OPTIMIZER.state_dict(), "vocabulary": ["a", "b"]},
    "preprocess": {"size": [8, 8], "mean": [0.5], "std": [0.5], "interpolation": "bicubic"},
    "hardpairs": {"dataset_fingerprint": "x", "run": {"seed": 1}, "counts": {"samples": 5}},
}


def change_entries(data: bytes, rng: random.Random) -> bytes:
    """Replace, remove or double an entry of a checkpoint."""
    content = changed(torch.load(io.BytesIO(data), weights_only=True), rng)
    return saved(lambda file: torch.save(content, file))


def _weights(path: Path) -> object:
    return checkpoint_weights(path)


def _entries(path: Path) -> object:
    size = checkpoint_image_size(path, "ViT-B-32")
    return checkpoint_vocabulary(path), checkpoint_preprocess(path), size


def _resumed(path: Path) -> None:
    check_weights(path, MODEL)
    check_optimizer(path, OPTIMIZER)


def weight_readers(folder: Path) -> Iterator[Reader]:
    """Yield the readers."""
    (folder / "sealed-weights").mkdir()
    ours, safe = (folder / f"sealed-weights/{name}" for name in ("w.pt", "w.safetensors"))
    save_checkpoint(CONTENT, ours)
    save_safetensors(MODEL.state_dict(), safe)
    old = saved(lambda file: torch.save(CONTENT, file, _use_new_zipfile_serialization=False))
    yield Reader("sealed-weights/w.pt", ours.read_bytes(), _weights)
    yield Reader("sealed-weights/w.safetensors", safe.read_bytes(), _weights)
    yield Reader("weights/old.pt", old, _weights)
    theirs = saved(lambda file: torch.save(CONTENT, file))
    for name, read in (("w", _weights), ("entries", _entries), ("resumed", _resumed)):
        yield Reader(f"weights/{name}.pt", theirs, read, (change_entries,), share=1)
