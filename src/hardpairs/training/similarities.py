"""Features that weight or mask negatives in place of the trained model's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from hardpairs.batches import open_stored_embeddings
from hardpairs.core.vectors import unit_rows
from hardpairs.data.embeddings import Embeddings
from hardpairs.data.one_space import check_one_space
from hardpairs.data.samples import Samples
from hardpairs.training.dataset import Batch

FeatureSource = Callable[[Batch], tuple[torch.Tensor, torch.Tensor]]
"""Returns unit image and text features of a batch, (b, D) float32 each."""


ONE_SPACE = ("guide_features", "start_features")
"""Fields of ``BatchInfo`` whose images are compared with their texts."""


def open_features(
    field: str, folder: str, samples: Samples, *, verify: bool = False
) -> StoredFeatures:
    """Open the stored embeddings that fill a field of the batches.

    Args:
        field: A field of ``BatchInfo``.
        folder: The folder that embedding wrote.
        samples: The training data.
        verify: Whether to check the checksums of the files.

    Raises:
        UserError: Exit 3 when there are none, or their images cannot be compared with their texts;
            exit 4 for those of other data.
    """
    embeddings = open_stored_embeddings(folder, samples, verify=verify)
    if field in ONE_SPACE:
        check_one_space(embeddings, folder)
    return StoredFeatures(embeddings)


class StoredFeatures:
    """Unit rows of stored embeddings by row number; a row without one is zero, like no other row.

    Args:
        embeddings: The stored embeddings.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings
        self.positions = np.full(embeddings.num_samples, -1, np.int64)
        self.positions[embeddings.rows] = np.arange(len(embeddings.rows))

    def __call__(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the stored features of a batch's rows, (b, D_image) and (b, D_text) float32."""
        assert batch.info.rows is not None
        positions = self.positions[np.asarray(batch.info.rows)]
        image = self._rows(self.embeddings.image, positions)
        return image, self._rows(self.embeddings.text, positions)

    def _rows(self, stored: Any, positions: np.ndarray) -> torch.Tensor:
        rows = unit_rows(stored[positions])
        rows[positions < 0] = 0
        return torch.from_numpy(rows)


class StartModel:
    """Features of the model as the run started, without gradient, at a forward pass per batch.

    Args:
        model: Set to evaluation mode.
        device: Where batches are moved to.
    """

    def __init__(self, model: nn.Module, device: torch.device | str) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.device = torch.device(device)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features of a batch, (b, D) float32 unit rows each."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            image = self.model.encode_image(batch.images.to(self.device), normalize=True)
            text = self.model.encode_text(batch.texts.to(self.device), normalize=True)
        return image.float(), text.float()
