"""Unit vectors in float16 for a device: all of them on it, or ranges that the host copies there."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from hardpairs.mining.engine.error_bound import NORM_ROUNDING

NUMBERS_AT_ONCE = 1 << 23
"""Numbers that are rounded together."""
STAGED = 4
"""Ranges of page-locked memory, so many copies can be under way."""
Range = tuple[int, int]
"""The first row and the one after the last."""
Sides = tuple[list[torch.Tensor], list[torch.Tensor]]
"""Rows and columns on a device, (m, D) and (n, D) float16 for each modality."""


class DeviceRows(Protocol):
    """Rows of one or two modalities that a device multiplies.

    Attributes:
        errors: For each modality, the largest |rounded row - row|.
    """

    errors: list[float]

    def fetch(self, rows: Range, columns: Range, then: Iterable[Range] = ()) -> Sides:
        """Return two ranges of rows on the device, for work that follows in its present stream.

        They stay there until the next call.

        Args:
            rows: A range.
            columns: A range.
            then: At most two ranges of the next call, which are copied while the device works.
        """

    def gather(self, numbers: np.ndarray) -> list[torch.Tensor]:
        """Return scattered rows on the device, (n, D) float16 for each modality."""

    def forget(self) -> None:
        """Forget what was copied: the host had other rows there."""


class ResidentRows:
    """All rows, on the device. See ``DeviceRows``.

    Args:
        units: (M, D) float32 unit vectors of one or two modalities.
        device: Where they are multiplied.
    """

    def __init__(self, units: Sequence[np.ndarray], device: torch.device) -> None:
        self._rows = [torch.empty(unit.shape, dtype=torch.float16, device=device) for unit in units]
        self.errors = [round_rows(*pair) for pair in zip(units, self._rows, strict=True)]
        self._device = device

    def fetch(self, rows: Range, columns: Range, then: Iterable[Range] = ()) -> Sides:
        """Return rows, see ``DeviceRows``."""
        left, right = ([side[slice(*part)] for side in self._rows] for part in (rows, columns))
        return left, right

    def gather(self, numbers: np.ndarray) -> list[torch.Tensor]:
        """Return scattered rows, see ``DeviceRows``."""
        on_device = torch.from_numpy(numbers).to(self._device)
        return [rows[on_device] for rows in self._rows]

    def forget(self) -> None:
        """Do nothing: all rows are here."""


@dataclass
class _Room:
    """Memory of the device for one range of rows.

    Attributes:
        sides: (size, D) float16 for each modality.
        read: Reached when the device has done all work on the rows that are there.
    """

    sides: list[torch.Tensor]
    read: torch.cuda.Event | None = None


class StreamedRows:
    """Ranges of rows on the device, copied from the host when they are needed.

    The device has room for some ranges. The one that was not needed for the longest time makes room
    for the next. On CUDA, rows go through page-locked memory and a stream of their own: what comes
    next is copied while the device computes. The host's rows are read when they are needed first,
    so that not all of them must be there at a time.

    Args:
        halves: (M, D) float16 rows of one or two modalities in the host's memory.
        errors: As in ``DeviceRows``.
        device: Where they are multiplied.
        ranges: Ranges that there is room for, at least four: two in use, and two that come.
        size: Most rows of a range.

    Attributes:
        errors: As in ``DeviceRows``.
        copied: Rows that were copied to the device.
    """

    def __init__(
        self,
        halves: Sequence[np.ndarray],
        errors: list[float],
        device: torch.device,
        ranges: int,
        size: int,
    ) -> None:
        self.errors, self.copied = errors, 0
        self._halves, self._device = [torch.from_numpy(half) for half in halves], device
        whole = self._memory(ranges * size, device=device)
        starts = range(0, ranges * size, size)
        self._free = [_Room([each[start : start + size] for each in whole]) for start in starts]
        self._held: dict[Range, _Room] = {}  # the least recently needed first
        self._in_use: list[_Room] = []
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream(device))  # had the memory before
            for each in whole:  # given to others only when the last copy has ended
                each.record_stream(self._stream)
            locked = (self._memory(size, pin_memory=True) for _ in range(STAGED))
            staged = [(sides, torch.cuda.Event()) for sides in locked]  # type: ignore[no-untyped-call]
            self._staged = itertools.cycle(staged)

    def _memory(self, rows: int, **options: Any) -> list[torch.Tensor]:
        """Allocate memory for rows."""
        return [half.new_empty(rows, half.shape[1], **options) for half in self._halves]

    def fetch(self, rows: Range, columns: Range, then: Iterable[Range] = ()) -> Sides:
        """Return rows, see ``DeviceRows``."""
        self._end_use()
        left, right = self._need(rows), self._need(columns)
        if self._stream is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
        for coming in then:
            self._need(coming, use=False)
        return left, right

    def gather(self, numbers: np.ndarray) -> list[torch.Tensor]:
        """Return scattered rows, see ``DeviceRows``."""
        return [half[torch.from_numpy(numbers)].to(self._device) for half in self._halves]

    def forget(self) -> None:
        """Forget what was copied, see ``DeviceRows``."""
        self._end_use()
        self._free += self._held.values()
        self._held = {}

    def _end_use(self) -> None:
        """Note that the device has been told all that it does with the rows in use."""
        if self._stream is not None and self._in_use:
            told = torch.cuda.Event()  # type: ignore[no-untyped-call]
            told.record(torch.cuda.current_stream(self._device))
            for room in self._in_use:
                room.read = told
        self._in_use = []

    def _need(self, rows: Range, *, use: bool = True) -> list[torch.Tensor]:
        """Return rows, which are copied where no held range contains them."""
        start, stop = rows
        around = (held for held in self._held if held[0] <= start and stop <= held[1])
        found = next(around, None)
        if found is None:
            found = rows
            room = self._free.pop() if self._free else self._held.pop(next(iter(self._held)))
            self._copy(rows, room)
        else:
            room = self._held.pop(found)
        self._held[found] = room
        if use:
            self._in_use.append(room)
        return [side[start - found[0] : stop - found[0]] for side in room.sides]

    def _copy(self, rows: Range, room: _Room) -> None:
        """Copy rows while the device works on others."""
        count = rows[1] - rows[0]
        parts = [half[slice(*rows)] for half in self._halves]
        places = [side[:count] for side in room.sides]
        self.copied += count
        if self._stream is None:
            _copy_all(parts, places)
            return
        staged, is_free = next(self._staged)
        is_free.synchronize()
        locked = [side[:count] for side in staged]
        _copy_all(parts, locked)
        if room.read is not None:
            self._stream.wait_event(room.read)
        with torch.cuda.stream(self._stream):
            _copy_all(locked, places)
            is_free.record(self._stream)


def _copy_all(sources: list[torch.Tensor], targets: list[torch.Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source, non_blocking=True)


def round_rows(unit: np.ndarray, halves: torch.Tensor) -> float:
    """Write (M, D) float32 rows into float16 ones and return the largest |rounded row - row|."""
    largest = torch.zeros((), device=halves.device)
    at_once = max(1, NUMBERS_AT_ONCE // unit.shape[1])
    for start in range(0, len(unit), at_once):
        rows = torch.from_numpy(unit[start : start + at_once]).to(halves.device)
        rounded = halves[start : start + at_once].copy_(rows)
        distances = (rows - rounded).norm(dim=1)  # the differences are exact
        largest = torch.maximum(largest, distances.max())
    return float(largest) * NORM_ROUNDING
