"""Whose similarities weight the negatives, or mask them, when not the trained model's own: stored embeddings, or the start model."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import nn

from hardpairs.batches import open_stored_embeddings
from hardpairs.core.vectors import unit_rows
from hardpairs.data.embeddings import Embeddings
from hardpairs.data.samples import Samples
from hardpairs.training.data import Batch


class StoredSimilarities:
    """Unit rows of stored embeddings by row number; a row without one gets zeros, so that it is like no other."""

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings
        self.places = np.full(embeddings.num_samples, -1, np.int64)
        self.places[embeddings.rows] = np.arange(len(embeddings.rows))

    def __call__(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(b, D_image), (b, D_text) float32."""
        places = self.places[batch.info.rows.numpy()]
        return self._rows(self.embeddings.image, places), self._rows(self.embeddings.text, places)

    def _rows(self, stored: np.ndarray, places: np.ndarray) -> torch.Tensor:
        rows = unit_rows(stored[places])
        rows[places < 0] = 0
        return torch.from_numpy(rows)


class StartModel:
    """Features of the model as the run started, without gradient. It costs a forward pass per batch.

    Args:
        model: in evaluation mode from here on.
        device: where batches are taken to.
    """

    def __init__(self, model: nn.Module, device: torch.device | str) -> None:
        self.model, self.device = model.eval().requires_grad_(False), torch.device(device)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(b, D), (b, D) float32 unit rows."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            image = self.model.encode_image(batch.images.to(self.device), normalize=True)
            text = self.model.encode_text(batch.texts.to(self.device), normalize=True)
        return image.float(), text.float()


def similarity_source(
    args: argparse.Namespace, samples: Samples, create_model
) -> StoredSimilarities | StartModel | None:
    """What ``--sanw-source`` names; ``None`` for the live features. ``create_model(name, pretrained, **options)`` opens the start model."""
    if args.sanw_source == "embeddings":
        return StoredSimilarities(open_stored_embeddings(args.sanw_embeddings, samples))
    if args.sanw_source == "initial":
        same = (
            "force_image_size",
            "force_quick_gelu",
            "force_custom_text",
            "force_context_length",
            "pretrained_image",
            "cache_dir",
        )
        options = {"precision": "fp32", "device": args.device} | {
            name: getattr(args, name) for name in same if hasattr(args, name)
        }
        return StartModel(create_model(args.model, args.pretrained, **options)[0], args.device)
    return None


def duplicate_source(args: argparse.Namespace, samples: Samples) -> StoredSimilarities | None:
    """The stored embeddings that ``--false-negative-embeddings`` names, by which near duplicates are no negatives."""
    if args.false_negative_embeddings is None:
        return None
    return StoredSimilarities(open_stored_embeddings(args.false_negative_embeddings, samples))
