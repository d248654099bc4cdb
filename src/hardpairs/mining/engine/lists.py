"""Candidate lists: made, packed for storage, merged, and passed to compiled loops in threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hardpairs.core.threads import in_parallel
from hardpairs.mining.engine import kernel
from hardpairs.mining.engine.kernel import CandidateLists, Data, Decided

RANGES_PER_THREAD = 2
"""Some rows have more to do than others, so each thread gets more than one range."""

ENTRY = {"column": np.int32, "high": np.float32, "low": np.float32, "reason": np.int8}
ROW = {"entries": np.int32, "threshold": np.float32, "overflowed": np.uint8}
ENTRY_BYTES = sum(np.dtype(kind).itemsize for kind in ENTRY.values())
ROW_BYTES = sum(np.dtype(kind).itemsize for kind in ROW.values())

Packed = dict[str, np.ndarray]
"""Lists as arrays to store: the entries of all rows one after the other, and the arrays by row."""


def empty_lists(first_row: int, rows: int, capacity: int, least: float = 0.0) -> CandidateLists:
    """Return lists without entries.

    Args:
        first_row: Number of the row that has slot 0.
        rows: Number of lists.
        capacity: Entries that each list has room for.
        least: Score below which no pair enters.
    """
    return CandidateLists(
        first_row,
        **{name: np.empty((rows, capacity), kind) for name, kind in ENTRY.items()},
        entries=np.zeros(rows, np.int32),
        threshold=np.full(rows, kernel.nudged(least), np.float32),
        overflowed=np.zeros(rows, np.uint8),
    )


def pack(lists: CandidateLists) -> Packed:
    """Return lists as arrays to store."""
    used = np.arange(lists.column.shape[1]) < lists.entries[:, None]
    entries = {name: getattr(lists, name)[used] for name in ENTRY}
    return {**entries, **{name: getattr(lists, name) for name in ROW}}


def empty_packed(rows: int, entries: int) -> Packed:
    """Return room for packed lists.

    Args:
        rows: Number of lists.
        entries: Entries of all lists.
    """
    columns = {name: np.empty(entries, kind) for name, kind in ENTRY.items()}
    return {**columns, **{name: np.empty(rows, kind) for name, kind in ROW.items()}}


def unpack(packed: Packed, first_row: int, capacity: int) -> CandidateLists:
    """Return lists from what ``pack`` made of them, with room for ``capacity`` entries or more."""
    count = packed["entries"]
    lists = empty_lists(first_row, len(count), max(capacity, int(count.max(initial=0))))
    used = np.arange(lists.column.shape[1]) < count[:, None]
    for name in ENTRY:
        getattr(lists, name)[used] = packed[name]
    entries = {name: getattr(lists, name) for name in ENTRY}
    return CandidateLists(first_row, **entries, **{name: packed[name] for name in ROW})


def list_rows(lists: CandidateLists, start: int, stop: int) -> CandidateLists:
    """Return lists of slots [start, stop), which share the memory of all."""
    arrays = {name: getattr(lists, name)[start:stop] for name in (*ENTRY, *ROW)}
    return CandidateLists(lists.first_row + start, **arrays)


def merge(own: CandidateLists, others: list[Packed]) -> CandidateLists:
    """Add to lists what other processes put into those of the same rows, in place if they fit.

    Args:
        own: Lists of R rows.
        others: Packed lists of the same rows, from other tiles.
    """
    total = own.entries + sum(packed["entries"].astype(np.int64) for packed in others)
    if total.max(initial=0) > own.column.shape[1]:
        own = unpack(pack(own), own.first_row, int(total.max()))
    filled, starts = own.entries.astype(np.int64), np.arange(len(total)) * own.column.shape[1]
    for packed in others:
        before = np.cumsum(packed["entries"], dtype=np.int64) - packed["entries"]
        target = np.repeat(starts + filled - before, packed["entries"])
        target += np.arange(len(packed["column"]))
        for name in ENTRY:
            getattr(own, name).ravel()[target] = packed[name]  # a view: the array is contiguous
        filled += packed["entries"]
    threshold, overflowed = (
        np.max([getattr(own, name), *(packed[name] for packed in others)], axis=0)
        for name in ("threshold", "overflowed")
    )
    return own._replace(entries=filled.astype(np.int32), threshold=threshold, overflowed=overflowed)


def raise_thresholds(data: Data, lists: CandidateLists) -> None:
    """Raise the thresholds of all lists and drop what does not reach them."""
    run_loop(kernel.raise_thresholds, len(lists.entries), lists.column.shape[1], data, lists)


def settle(data: Data, lists: CandidateLists) -> None:
    """Make the scores of all entries exact. After it, the rows of their columns may leave."""
    run_loop(kernel.settle, len(lists.entries), lists.column.shape[1], data, lists)


def decide_lists(data: Data, lists: CandidateLists) -> Decided:
    """Return the final lists; of overflowed rows, not all removed entries are counted."""
    rows = len(lists.entries)
    decided = Decided(
        indices=np.full((rows, data.depth), -1, np.int64),
        scores=np.zeros((rows, data.depth), np.float32),
        removed=np.zeros((rows, kernel.REASONS), np.int64),
        last_key=np.zeros(rows, np.uint64),
    )
    run_loop(kernel.decide, rows, lists.column.shape[1], data, lists, decided)
    return decided


def run_loop(loop: Callable[..., None], count: int, capacity: int, *arguments: Any) -> None:
    """Run ``loop(begin, end, scratch, *arguments)`` over [0, count), in ranges of equal size.

    Args:
        loop: A function of ``hardpairs.mining.engine.kernel``.
        count: End of the whole range.
        capacity: Entries of the lists that the loop works on, 0 if it needs none.
        *arguments: What the loop takes besides.
    """
    threads = torch.get_num_threads()
    size = count
    if threads > 1 and count >= 2 * kernel.CHUNK:
        size = -(-count // (threads * RANGES_PER_THREAD))
    run_ranges(loop, [*range(0, count, max(1, size)), count], capacity, *arguments)


def run_ranges(loop: Callable[..., None], cuts: list[int], capacity: int, *arguments: Any) -> None:
    """Do what ``run_loop`` does, with ranges from each cut to the next one."""
    in_parallel(
        lambda begin, end: loop(begin, end, kernel.make_scratch(capacity), *arguments),
        cuts,
        cuts[1:],
    )
