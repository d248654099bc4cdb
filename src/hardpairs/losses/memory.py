"""Cross-batch memory: features of past global batches, as further columns of a loss.

Source: Wang et al., arXiv 1912.06798 (XBM), for images and texts. The features get no gradient. The
model moves between batches, so that old features are not quite what it would make of their rows
now. ``Memory`` measures how far they are from it, by rows that are met again and by the means of
batches, and gives them the mean and spread of the present batch (``match_moments``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import normalize

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
        self._shifts: list[torch.Tensor] = []

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
            self._shifts.append(_shift(list(self.batches), batch))
            total = torch.stack(drift).sum(0)
            self._drift = total if self._drift is None else self._drift + total
        self.batches.append(batch)

    @torch.no_grad()
    def matched(self, image: torch.Tensor, text: torch.Tensor) -> list[MemoryBatch]:
        """Return the batches with the mean and spread of the present one, oldest first.

        Args:
            image: (B, D) features of the present global batch, unit length.
            text: (B, D), likewise.
        """
        images = match_moments([batch.image for batch in self.batches], image)
        texts = match_moments([batch.text for batch in self.batches], text)
        sides = zip(self.batches, images, texts, strict=True)
        return [batch._replace(image=first, text=second) for batch, first, second in sides]

    def hold(self, batches: Iterable[MemoryBatch]) -> None:
        """Keep these batches in place of those that were kept."""
        self.clear()
        self.batches.extend(batches)

    def clear(self) -> None:
        """Forget all batches."""
        self.batches.clear()
        self._drift = None
        self._shifts.clear()

    def statistics(self) -> dict[str, float]:
        """Return the rows, and how far the model has moved from them since the last call.

        Returns:
            ``memory_rows``; ``memory_shift``, the distance between the mean features of the memory
            and of the batch that came next, mean over batches and modalities; and
            ``memory_drift``, the mean of 1 - cos of a row's old and new features over both
            modalities, where a row was met again.
        """
        numbers = {"memory_rows": float(len(self))}
        if self._shifts:
            numbers["memory_shift"] = torch.stack(self._shifts).mean().item()
            self._shifts.clear()
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


def match_moments(past: Sequence[torch.Tensor], present: torch.Tensor) -> list[torch.Tensor]:
    """Return past features with the mean and standard deviation of the present ones, unit length.

    Source: Ajanthan et al., arXiv 2303.17127 (XBN), with the moments of all past rows together, by
    component, and without gradient.

    Args:
        past: K tensors (B, D), unit length.
        present: (B, D), unit length.
    """
    if not past:
        return []
    spread, mean = torch.std_mean(torch.cat([*past]).double(), dim=0, correction=0)
    present_spread, present_mean = torch.std_mean(present.double(), dim=0, correction=0)
    factor = present_spread / spread.clamp(min=torch.finfo(torch.float32).eps)
    moved = ((features.double() - mean) * factor + present_mean for features in past)
    return [normalize(features, dim=1).to(present.dtype) for features in moved]


def _shift(past: Sequence[MemoryBatch], new: MemoryBatch) -> torch.Tensor:
    """Return (): the distance of the mean features of past batches and a new one, by modality."""
    sides = (
        ([batch.image for batch in past], new.image),
        ([batch.text for batch in past], new.text),
    )
    moves = [torch.cat(before).double().mean(0) - after.double().mean(0) for before, after in sides]
    distances: torch.Tensor = torch.linalg.vector_norm(torch.stack(moves), dim=1)
    return distances.mean()


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
