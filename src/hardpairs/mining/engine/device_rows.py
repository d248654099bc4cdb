"""Unit vectors in float16 for a device: all of them on it, or ranges that the host copies there."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from hardpairs.mining.engine.error_bound import NORM_ROUNDING

ROWS_AT_ONCE = 1 << 16
"""Rows that are rounded together."""
STAGED = 4
"""Ranges of page-locked memory, so many copies can be under way."""
Range = tuple[int, int]
"""The first row and the one after the last."""


class DeviceRows(Protocol):
    """Rows of one or two modalities that a device multiplies.

    Attributes:
        errors: For each modality, the largest |rounded row - row|.
    """

    errors: list[float]

    def fetch(self, start: int, stop: int) -> list[torch.Tensor]:
        """Return rows on the device, (stop - start, D) float16 for each modality.

        They stay until four other ranges have been fetched or expected.
        """

    def expect(self, ranges: Iterable[Range]) -> None:
        """Begin to copy at most two ranges, while the device works on what it has."""

    def gather(self, numbers: np.ndarray) -> list[torch.Tensor]:
        """Return scattered rows on the device, (n, D) float16 for each modality."""

    def forget(self) -> None:
        """Copy rows again that are asked for: other ones stood in their place on the host."""


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

    def fetch(self, start: int, stop: int) -> list[torch.Tensor]:
        """Return rows, see ``DeviceRows``."""
        return [rows[start:stop] for rows in self._rows]

    def expect(self, ranges: Iterable[Range]) -> None:
        """Do nothing: all rows are here."""

    def gather(self, numbers: np.ndarray) -> list[torch.Tensor]:
        """Return scattered rows, see ``DeviceRows``."""
        on_device = torch.from_numpy(numbers).to(self._device)
        return [rows[on_device] for rows in self._rows]

    def forget(self) -> None:
        """Do nothing: all rows are here."""


class StreamedRows:
    """Ranges of rows on the device, copied from the host when they are needed.

    The device has room for some ranges. The one that was not needed for the longest time makes room
    for the next. On CUDA, rows go through page-locked memory and a stream of their own: what is
    expected comes while the device computes. The host's rows are read when they are needed first,
    so that not all of them must be there at a time.

    Args:
        halves: (M, D) float16 rows of one or two modalities in the host's memory.
        errors: As in ``DeviceRows``.
        device: Where they are multiplied.
        slots: Ranges that there is room for, at least four: two in use, and two that come.
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
        slots: int,
        size: int,
    ) -> None:
        self.errors, self.copied = errors, 0
        self._halves, self._device = [torch.from_numpy(half) for half in halves], device
        self._free = [self._room(size, device=device) for _ in range(slots)]
        self._held: dict[Range, list[torch.Tensor]] = {}  # the least recently needed first
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            for room in self._free:
                for side in room:  # given to others only when the last copy has ended
                    side.record_stream(self._stream)
            rooms = (self._room(size, pin_memory=True) for _ in range(STAGED))
            staged = [(room, torch.cuda.Event()) for room in rooms]  # type: ignore[no-untyped-call]
            self._staged = itertools.cycle(staged)

    def _room(self, size: int, **options: Any) -> list[torch.Tensor]:
        """Allocate memory for a range."""
        return [half.new_empty(size, half.shape[1], **options) for half in self._halves]

    def fetch(self, start: int, stop: int) -> list[torch.Tensor]:
        """Return rows, see ``DeviceRows``."""
        first, sides = self._need(start, stop)
        if self._stream is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return [side[start - first : stop - first] for side in sides]

    def expect(self, ranges: Iterable[Range]) -> None:
        """Begin to copy ranges, see ``DeviceRows``."""
        for start, stop in ranges:
            self._need(start, stop)

    def gather(self, numbers: np.ndarray) -> list[torch.Tensor]:
        """Return scattered rows, see ``DeviceRows``."""
        return [half[torch.from_numpy(numbers)].to(self._device) for half in self._halves]

    def forget(self) -> None:
        """Copy rows again, see ``DeviceRows``."""
        self._free += self._held.values()
        self._held = {}

    def _need(self, start: int, stop: int) -> tuple[int, list[torch.Tensor]]:
        """Return a held range that contains a range: its first row, and its room."""
        around = (held for held in self._held if held[0] <= start and stop <= held[1])
        found = next(around, None)
        if found is None:
            found = (start, stop)
            room = self._free.pop() if self._free else self._held.pop(next(iter(self._held)))
            self._copy(found, room)
        else:
            room = self._held.pop(found)
        self._held[found] = room
        return found[0], room

    def _copy(self, rows: Range, room: list[torch.Tensor]) -> None:
        """Copy rows beside what the device was told last, and after what it was told before."""
        count = rows[1] - rows[0]
        parts = [half[slice(*rows)] for half in self._halves]
        self.copied += count
        if self._stream is None:
            _copy_all(parts, [side[:count] for side in room])
            return
        staged, is_free = next(self._staged)
        is_free.synchronize()
        locked = [side[:count] for side in staged]
        _copy_all(parts, locked)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            _copy_all(locked, [side[:count] for side in room])
            is_free.record(self._stream)


def _copy_all(sources: list[torch.Tensor], targets: list[torch.Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source, non_blocking=True)


def round_rows(unit: np.ndarray, halves: torch.Tensor) -> float:
    """Write (M, D) float32 rows into float16 ones and return the largest |rounded row - row|."""
    largest = torch.zeros((), device=halves.device)
    for start in range(0, len(unit), ROWS_AT_ONCE):
        rows = torch.from_numpy(unit[start : start + ROWS_AT_ONCE]).to(halves.device)
        rounded = halves[start : start + ROWS_AT_ONCE].copy_(rows)
        distances = (rows - rounded).norm(dim=1)  # the differences are exact
        largest = torch.maximum(largest, distances.max())
    return float(largest) * NORM_ROUNDING
