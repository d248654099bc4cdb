"""Cross-batch memory: features of past global batches, as further columns of a loss.

Source: Wang et al., arXiv 1912.06798 (XBM), for images and texts. The features get no gradient. The
model moves between batches, so that old features are not quite what it would make of their rows
now: ``Memory`` measures how far they are from it, by rows that are met again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch

from hardpairs.batches.info import PER_ROW, BatchInfo

ROWS_AT_ONCE = 8192
"""Rows of all that are columns of logits together."""


class MemoryBatch(NamedTuple):
    """A past global batch of B rows, the same on all ranks.

    Attributes:
        image: (B, D), unit length.
        text: (B, D), unit length.
        info: Row numbers, and what the loss's weights and masks need.
        source: (B, S) rows of ``similarity_source``; ``None`` without weights.
    """

    image: torch.Tensor
    text: torch.Tensor
    info: BatchInfo
    source: torch.Tensor | None

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> MemoryBatch:
        """Return the batch with ``change`` applied to each tensor."""
        source = None if self.source is None else change(self.source)
        return MemoryBatch(change(self.image), change(self.text), self.info.each(change), source)


def in_batches(image: torch.Tensor, text: torch.Tensor, info: BatchInfo) -> list[MemoryBatch]:
    """Return the features of many rows as batches of ``ROWS_AT_ONCE``.

    Args:
        image: (N, D), unit length.
        text: (N, D), unit length.
        info: Row numbers and group ids.
    """
    blocks = (slice(start, start + ROWS_AT_ONCE) for start in range(0, len(image), ROWS_AT_ONCE))
    return [MemoryBatch(image[block], text[block], info[block], None) for block in blocks]


class Memory:
    """The features of the last global batches, oldest first; or of all rows, as they were given.

    Batches are kept one by one and never overwritten: a backward pass may still need one that has
    left the memory.

    Args:
        batches: Number of global batches; ``None``: any.
    """

    def __init__(self, batches: int | None) -> None:
        self.batches: deque[MemoryBatch] = deque(maxlen=batches)
        self._drift: torch.Tensor | None = None

    def __iter__(self) -> Iterator[MemoryBatch]:
        """Iterate over the batches, oldest first."""
        return iter(self.batches)

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(len(batch.image) for batch in self.batches)

    def to(self, dtype: torch.dtype) -> None:
        """Convert the features; those of batches have the dtype that the loss computes in."""
        for i, batch in enumerate(self.batches):
            if batch.image.dtype != dtype:
                self.batches[i] = batch._replace(
                    image=batch.image.to(dtype), text=batch.text.to(dtype)
                )

    @torch.no_grad()
    def push(self, batch: MemoryBatch) -> None:
        """Keep a batch; the oldest one leaves a full memory."""
        drift = [_drift(old, batch) for old in self.batches]
        if drift:
            total = torch.stack(drift).sum(0)
            self._drift = total if self._drift is None else self._drift + total
        self.batches.append(batch)

    def hold(self, batches: Iterable[MemoryBatch]) -> None:
        """Keep these batches in place of those that were kept."""
        self.clear()
        self.batches.extend(batches)

    def clear(self) -> None:
        """Forget all batches."""
        self.batches.clear()
        self._drift = None

    def statistics(self) -> dict[str, float]:
        """Return the rows, and the drift of rows that were met again since the last call.

        Returns:
            ``memory_rows``; and ``memory_drift``, the mean of 1 - cos of a row's old and new
            features over both modalities, where a row was met again.
        """
        numbers = {"memory_rows": float(len(self))}
        total, count = (0.0, 0.0) if self._drift is None else self._drift.tolist()
        self._drift = None
        return {**numbers, "memory_drift": total / count} if count else numbers

    def state(self) -> list[dict[str, Any]]:
        """Return the content as tensors on the CPU, for a checkpoint."""
        return [_to_dictionary(batch.each(torch.Tensor.cpu)) for batch in self.batches]

    def load_state(self, state: list[dict[str, Any]], device: torch.device | str) -> None:
        """Take over what ``state`` returned, on a device."""
        self.clear()
        self.batches.extend(_from_dictionary(entry).each(lambda t: t.to(device)) for entry in state)


def _drift(old: MemoryBatch, new: MemoryBatch) -> torch.Tensor:
    """Return (2,) float64: the sum of 1 - cos of rows that are in both batches, and their number.

    Image and text of a row count as half a row each.
    """
    rows, order = new.info.rows.sort()
    place = torch.searchsorted(rows, old.info.rows).clamp(max=len(rows) - 1)
    met, again = rows[place] == old.info.rows, order[place]
    sides = ((old.image, new.image), (old.text, new.text))
    cosines = torch.stack([(before * after[again]).sum(1).double() for before, after in sides])
    return torch.stack([((1 - cosines.mean(0)) * met).sum(), met.sum().double()])


def _to_dictionary(batch: MemoryBatch) -> dict[str, Any]:
    fields = {name: getattr(batch.info, name) for name in PER_ROW}
    return {"image": batch.image, "text": batch.text, "source": batch.source, "info": fields}


def _from_dictionary(entry: dict[str, Any]) -> MemoryBatch:
    return MemoryBatch(**{**entry, "info": BatchInfo(**entry["info"])})
