"""Image-text pairs in order, for validation and for embedding the data during a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from hardpairs.core.errors import bad_input
from hardpairs.core.workers import answer_to_the_parent
from hardpairs.data.images import UnreadableImage, read_image
from hardpairs.data.samples import Samples
from hardpairs.data.unreadable import UnreadableImages
from hardpairs.training.preemption import REQUESTS

if TYPE_CHECKING:
    from hardpairs.training.measuring import Inference
    from hardpairs.training.watch import Watch


class PairDataset(Dataset[Any]):
    """The usable rows of a data set, in order.

    An item is (position, image, tokens), or (position, reason) for an unreadable image; positions
    are those in ``rows``.

    Args:
        samples: The data.
        transform: Called with each image; returns a tensor.
        tokenizer: Called with a list of captions; returns a tensor.

    Attributes:
        rows: Row numbers of the items.
    """

    def __init__(
        self,
        samples: Samples,
        transform: Callable[[Any], torch.Tensor],
        tokenizer: Callable[[list[str]], torch.Tensor],
    ) -> None:
        self.samples, self.transform, self.tokenizer = samples, transform, tokenizer
        self.rows = [row for row in range(len(samples)) if row not in samples.rejected]

    def __len__(self) -> int:
        """Return the number of usable rows."""
        return len(self.rows)

    def __getitems__(self, positions: list[int]) -> list[tuple[Any, ...]]:
        """Return the items of a batch, whose images are requested together."""
        self.samples.read_ahead(self.rows[position] for position in positions)
        return [self[position] for position in positions]

    def __getitem__(
        self, position: int
    ) -> tuple[int, torch.Tensor, torch.Tensor] | tuple[int, str]:
        """Return an item."""
        row = self.rows[position]
        try:
            image = self.transform(read_image(self.samples, row))
        except UnreadableImage as error:
            return position, str(error)
        return position, image, self.tokenizer([self.samples.caption(row)])[0]


class PairBatch(NamedTuple):
    """The readable pairs of some items of a ``PairDataset``; b can be 0.

    Attributes:
        positions: (b,) int64.
        images: (b, 3, H, W) float.
        texts: (b, L) int64.
        unreadable: (position, reason) of the other items.
    """

    positions: torch.Tensor
    images: torch.Tensor
    texts: torch.Tensor
    unreadable: list[tuple[int, str]]


def pair_batch(items: Sequence[tuple[Any, ...]]) -> PairBatch:
    """Collate items of a ``PairDataset``."""
    read = [item for item in items if len(item) == 3]
    unreadable = [item for item in items if len(item) == 2]
    if not read:
        empty = torch.empty(0)
        return PairBatch(empty.long(), empty, empty, unreadable)
    positions, images, texts = default_collate(read)
    return PairBatch(positions, images, texts, unreadable)


def pair_loader(pairs: Dataset[Any], batch_size: int, workers: int) -> DataLoader[Any]:
    """Return a DataLoader of ``PairBatch``, in order.

    Args:
        pairs: A ``PairDataset``, or a subset of one.
        batch_size: Items per batch.
        workers: Worker processes; 0 loads in this one.
    """
    return DataLoader(
        pairs,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=pair_batch,
        worker_init_fn=answer_to_the_parent,
    )


class ValidationBatches:
    """Batches of (images, texts) of the readable rows, for OpenCLIP's evaluation.

    Args:
        pairs: The validation data.
        batch_size: Rows per batch.
        workers: Worker processes.

    Attributes:
        rows: Row numbers of the last pass, in order.
        num_samples: Number of rows, as OpenCLIP's loaders have it.
        num_batches: Number of batches, as OpenCLIP's loaders have it.
    """

    def __init__(self, pairs: PairDataset, batch_size: int, workers: int) -> None:
        self.samples, self._pairs = pairs.samples, pairs
        self._loader = pair_loader(pairs, batch_size, workers)
        self.num_batches, self.num_samples = len(self._loader), len(pairs)
        self.rows: list[int] = []
        self.unreadable = UnreadableImages(pairs.samples, log=True)

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.num_batches

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Iterate over images and texts, and note the rows they are of."""
        self.rows = []
        rows = self._pairs.rows
        for batch in self._loader:
            REQUESTS.check()
            self.unreadable.add((rows[position], reason) for position, reason in batch.unreadable)
            self.rows += [rows[position] for position in batch.positions.tolist()]
            if len(batch.positions):
                yield batch.images, batch.texts
        if not self.rows:
            source = self.samples.source
            raise bad_input("no validation image is readable", where=source, fix="check the paths")


class LeavableLoader:
    """A loader of OpenCLIP's whose iteration a request to stop ends, between two batches.

    Args:
        loader: The loader; it has the same attributes.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the batches."""
        for batch in self._loader:
            REQUESTS.check()
            yield batch

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the loader."""
        return getattr(self._loader, name)


@dataclass
class ValidationData:
    """Validation data with the attributes that OpenCLIP's trainer reads.

    Attributes:
        dataloader: The pairs.
        inference: How the model runs.
        watch: A second data set.
    """

    dataloader: ValidationBatches
    inference: Inference
    watch: Watch | None = None
