"""The compiled loops: scan low-precision similarities, keep candidates, decide in float64.

Terms used here. Each row has a *list* of candidates: its ``depth`` best so far and whatever is too
close to call. An *entry* is one candidate j of row i with bounds ``low <= score(i, j) <= high`` and
the reason for which a filter removes it (``KEPT`` if none does). The *threshold* of a row lies
below the float32 score of its last kept rank. A pair whose upper bound does not reach the threshold
can neither enter the list nor tie with its end. Entries that a filter removes stay in the list as
long as they outrank the last kept one, so that they can be counted. A *slot* is the position of a
row's list in ``CandidateLists``.

All arithmetic that decides is float64 on float32 unit vectors, added up from the first component to
the last. The result therefore depends on nothing but the two rows.

Everything compiled is in this one file: numba's cache checks only the file of the function that is
called, so a change in another file would leave stale machine code behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np

from hardpairs.mining.engine.error_bound import BFLOAT16_ROUNDING
from hardpairs.mining.options import (
    CROSS,
    DUPLICATE_LIMIT,
    FLOOR_FIRST,
    FLOOR_SECOND,
    LEAST,
    MAX_FIRST,
    MAX_PRODUCT,
    MAX_SECOND,
    MIN_FIRST,
    MIN_SECOND,
    PRODUCT,
    SINGLE,
)

KEPT, GROUP, DUPLICATE, FLOOR, MAX_IMAGE, MIN_IMAGE, MAX_TEXT, MIN_TEXT, MAX_SCORE, MARGIN = range(
    10
)
"""Reasons of entries. From 1 on they follow ``options.REMOVED_BY``."""
REASONS = 10
UNCERTAIN, NOTHING = -1, -2

NUDGE = 2.0**-21
"""Relative margin for the float32 rounding of bounds, thresholds and keys (a few of 2^-24 each)."""
TINY = 2.0**-150
"""A score up to this one is 0 once it is stored as float32."""
NO_KEY = np.uint64(0xFFFFFFFFFFFFFFFF)
"""The rank key after all others."""
CHUNK = 128
"""Columns that are scanned together. Only a chunk with a candidate is looked into."""


class Data(NamedTuple):
    """Inputs of the scores, rows in search order.

    Attributes:
        first: (M, D) float32 unit vectors of the first modality.
        second: (M, D) of the second one; width 0 in SINGLE mode.
        groups: (M, G) int64 group ids.
        row_number: (M,) int64 row numbers of the data set, which break ties.
        margin: (M,) float64, what x_i.y_j must not exceed; (0,) without a margin.
        limits: (9,) float64, see ``MiningOptions.limits``.
        mode: SINGLE, PRODUCT, WEIGHTED or CROSS, see ``hardpairs.mining.options``.
        weight: w of WEIGHTED mode.
        sum_error: Bound on the difference of two float64 sums of one dot product.
        depth: Ranks of a list that must be known.
    """

    first: np.ndarray
    second: np.ndarray
    groups: np.ndarray
    row_number: np.ndarray
    margin: np.ndarray
    limits: np.ndarray
    mode: int
    weight: float
    sum_error: float
    depth: int


class CandidateLists(NamedTuple):
    """The lists of R consecutive rows, with room for C entries each.

    Attributes:
        first_row: The row that has slot 0.
        column: (R, C) int32 rows that are candidates.
        high: (R, C) float32 upper bounds of scores.
        low: (R, C) float32 lower bounds of scores.
        reason: (R, C) int8.
        entries: (R,) int32, how many are in use.
        threshold: (R,) float32.
        overflowed: (R,) uint8, 1 where removed entries did not fit and were dropped. What filters
            remove from such rows is counted again at the end.
    """

    first_row: int
    column: np.ndarray
    high: np.ndarray
    low: np.ndarray
    reason: np.ndarray
    entries: np.ndarray
    threshold: np.ndarray
    overflowed: np.ndarray


class Block(NamedTuple):
    """Similarities of some rows and columns.

    In CROSS mode, the first ones are of the rows' images with the columns' captions, and the second
    ones of the rows' captions with the columns' images.

    Attributes:
        row: Number of the first row.
        column: Number of the first column.
        first: (m, n) uint16, similarities of the first modality as bfloat16 bits.
        second: The same of the second modality; not read in SINGLE mode.
        errors: (2,) float32 error bounds, without the rounding to bfloat16.
        tables: (2, 65536) float32, upper bounds of the factors by code in WEIGHTED mode; (2, 0)
            otherwise.
    """

    row: int
    column: int
    first: np.ndarray
    second: np.ndarray
    errors: np.ndarray
    tables: np.ndarray


class Pairs(NamedTuple):
    """P candidate pairs, sorted by slot.

    Attributes:
        slots: (P,) int32, the list that a pair is offered to.
        others: (P,) int32, the row that is offered.
        codes: (P, 2) uint16, the similarities as bits.
        values: (65536,) float32, the number that each code stands for.
        rounding: Relative part of the error bound.
        errors: (2,) float64. A similarity is within ``rounding * |value| + error`` of the exact
            one.
    """

    slots: np.ndarray
    others: np.ndarray
    codes: np.ndarray
    values: np.ndarray
    rounding: float
    errors: np.ndarray


class Decided(NamedTuple):
    """Final lists of R rows.

    Attributes:
        indices: (R, depth) int64 row numbers of the data set, padded with -1.
        scores: (R, depth) float32, padded with 0.
        removed: (R, REASONS) int64, entries that outrank the last kept one, by reason.
        last_key: (R,) uint64, rank key of the last kept entry; NO_KEY for a short list.
    """

    indices: np.ndarray
    scores: np.ndarray
    removed: np.ndarray
    last_key: np.ndarray


class Scratch(NamedTuple):
    """Memory of one thread.

    Attributes:
        scores: (CHUNK,) float32 upper bounds.
        positions: (CHUNK + 1,) int64 positions of scores above a threshold.
        lows: (C,) float32 lower bounds of one list.
        keys: (C,) uint64 rank keys of one list.
        row_scores: (B,) float32 upper bounds of one row of a block.
        selection: (B,) float32, a copy of them that selection reorders.
    """

    scores: np.ndarray
    positions: np.ndarray
    lows: np.ndarray
    keys: np.ndarray
    row_scores: np.ndarray
    selection: np.ndarray


def make_scratch(capacity: int, columns: int = 0) -> Scratch:
    """Allocate the memory of one thread for lists of ``capacity`` and blocks of ``columns``."""
    return Scratch(
        np.empty(CHUNK, np.float32),
        np.empty(CHUNK + 1, np.int64),
        np.empty(capacity, np.float32),
        np.empty(capacity, np.uint64),
        np.empty(columns, np.float32),
        np.empty(columns, np.float32),
    )


Function = TypeVar("Function", bound=Callable[..., Any])


def _compiler(**more: Any) -> Callable[[Function], Function]:
    """Return a decorator that compiles at the first call and caches the machine code on disk.

    None of these loops allocates, so numba's reference counting is off: it cost more than the work
    on a pair. What they need besides their arguments is in ``Scratch``. They run without the GIL,
    each thread on its own range of rows.
    """
    settings = {"error_model": "numpy", "nogil": True, "_nrt": False, **more}

    def compiled(function: Function) -> Function:
        try:
            return numba.njit(**settings, cache=True)(function)  # type: ignore[no-any-return]
        except RuntimeError:  # no folder is writable, not even in the home: compile at each start
            return numba.njit(**settings)(function)  # type: ignore[no-any-return]

    return compiled


_plain = _compiler()
_fast = _compiler(fastmath={"reassoc", "contract", "nsz"})


@_fast
def _dot(left: np.ndarray, i: int, right: np.ndarray, j: int) -> float:
    """Return x_i . y_j in float64, summed in any order (vectorized)."""
    total = 0.0
    for k in range(left.shape[1]):
        total += np.float64(left[i, k]) * np.float64(right[j, k])
    return total


@_plain
def _ordered_dot(left: np.ndarray, i: int, right: np.ndarray, j: int) -> float:
    """Return x_i . y_j in float64 from the first component to the last: the sum that decides.

    It repeats the text of ``_dot`` because numba's cache identifies a function by its position in
    the file: one function that is compiled in two ways would be taken for the other.
    """
    total = 0.0
    for k in range(left.shape[1]):
        total += np.float64(left[i, k]) * np.float64(right[j, k])
    return total


@_plain
def _value(code: Any) -> Any:
    """Return bfloat16 bits as float32, of which they are the upper half."""
    return np.uint32(np.uint32(code) << np.uint32(16)).view(np.float32)


@_plain
def _to_bfloat16(value: Any) -> Any:
    """Return a finite float32, rounded to nearest, as the bits of a bfloat16."""
    bits = np.float32(value).view(np.uint32)
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.uint16((bits + half) >> np.uint32(16))


@_plain
def scale(products: np.ndarray, rows: np.ndarray, columns: np.ndarray, out: np.ndarray) -> None:
    """Write products of whole numbers as similarities.

    Args:
        products: (m, n) int32.
        rows: (m,) float32, the scale of each row.
        columns: (n,) float32, the scale of each column.
        out: (m, n) uint16, bits of bfloat16 numbers.
    """
    for r in range(len(products)):
        for c in range(len(columns)):
            value = np.float32(products[r, c]) * (rows[r] * columns[c])
            out[r, c] = _to_bfloat16(value)


@_plain
def _similarities(data: Data, i: int, j: int) -> tuple[float, float]:
    """Return what the score of a pair is made of, in float64, summed in any order."""
    if data.mode == CROSS:
        return _dot(data.first, i, data.second, j), _dot(data.second, i, data.first, j)
    return _dot(data.first, i, data.first, j), _dot(data.second, i, data.second, j)


@_plain
def _ordered_similarities(data: Data, i: int, j: int) -> tuple[float, float]:
    """Do what ``_similarities`` does with the sums that decide."""
    if data.mode == CROSS:
        across = _ordered_dot(data.first, i, data.second, j)
        return across, _ordered_dot(data.second, i, data.first, j)
    first = _ordered_dot(data.first, i, data.first, j)
    return first, _ordered_dot(data.second, i, data.second, j)


@_plain
def _score(data: Data, first: float, second: float) -> Any:
    first = max(first, 0.0)
    if data.mode == SINGLE:
        return first
    second = max(second, 0.0)
    if data.mode == CROSS:
        return max(first, second)
    if data.mode == PRODUCT:
        return first * second
    return first ** (2 * data.weight) * second ** (2 - 2 * data.weight)


@_plain
def _over(low: float, high: float, limit: float) -> int:
    """Tell whether a number in [low, high] is above ``limit``: 1 yes, 0 no, -1 uncertain."""
    if low > limit:
        return 1
    return -1 if high > limit else 0


@_plain
def _judge(
    data: Data,
    first_low: float,
    first_high: float,
    second_low: float,
    second_high: float,
    low: float,
    high: float,
    same_group: bool,
) -> int:
    """Return the reason of a pair whose similarities and score lie in these intervals.

    In CROSS mode, the filters on similarities within a modality are left aside.

    Returns:
        KEPT, or the first filter that removes the pair; NOTHING for a score of 0 or below anything
        that could be kept; UNCERTAIN where the intervals are too wide to tell.
    """
    limits = data.limits
    if high <= TINY or high < limits[LEAST]:
        return NOTHING
    if low <= TINY or low < limits[LEAST]:
        return UNCERTAIN
    if same_group:
        return GROUP
    if data.mode != CROSS:
        reason = _judge_sides(limits, first_low, first_high, second_low, second_high)
        if reason != KEPT:
            return reason
    answer = _over(low, high, limits[MAX_PRODUCT])
    if answer == 1:
        return MAX_SCORE
    return UNCERTAIN if answer == -1 else KEPT


@_plain
def _judge_sides(
    limits: np.ndarray,
    first_low: float,
    first_high: float,
    second_low: float,
    second_high: float,
) -> int:
    """Do what ``_judge`` does for the filters on similarities within a modality."""
    duplicate = limits[DUPLICATE_LIMIT]
    answer = max(_over(first_low, first_high, duplicate), _over(second_low, second_high, duplicate))
    if answer == 1:
        return DUPLICATE
    if first_high > duplicate or second_high > duplicate:
        return UNCERTAIN
    if first_high < limits[FLOOR_FIRST] or second_high < limits[FLOOR_SECOND]:
        return FLOOR
    if first_low < limits[FLOOR_FIRST] or second_low < limits[FLOOR_SECOND]:
        return UNCERTAIN
    for reason, at_most, at_least, one_low, one_high in (
        (MAX_IMAGE, limits[MAX_FIRST], limits[MIN_FIRST], first_low, first_high),
        (MAX_TEXT, limits[MAX_SECOND], limits[MIN_SECOND], second_low, second_high),
    ):
        if one_low > at_most:
            return reason
        if one_high > at_most:
            return UNCERTAIN
        if one_high < at_least:
            return reason + 1
        if one_low < at_least:
            return UNCERTAIN
    return KEPT


@_plain
def _same_group(groups: np.ndarray, i: int, j: int) -> bool:
    for g in range(groups.shape[1]):  # noqa: SIM110 (compiled: no generators)
        if groups[i, g] == groups[j, g]:
            return True
    return False


@_plain
def _beyond_margin(data: Data, i: int, j: int) -> bool:
    """Tell whether x_i.y_j or y_i.x_j is above what row i allows (positive-aware margin)."""
    limit = data.margin[i]
    for left, right in ((data.first, data.second), (data.second, data.first)):
        similarity = _dot(left, i, right, j)
        if abs(similarity - limit) <= data.sum_error:
            similarity = _ordered_dot(left, i, right, j)
        if similarity > limit:
            return True
    return False


@_plain
def _within_modalities(data: Data, i: int, j: int) -> int:
    """Return KEPT, or the filter on similarities within a modality that removes a pair."""
    first, second = _dot(data.first, i, data.first, j), _dot(data.second, i, data.second, j)
    error = data.sum_error
    reason = _judge_sides(data.limits, first - error, first + error, second - error, second + error)
    if reason == UNCERTAIN:
        first = _ordered_dot(data.first, i, data.first, j)
        second = _ordered_dot(data.second, i, data.second, j)
        reason = _judge_sides(data.limits, first, first, second, second)
    return reason


@_plain
def _final_reason(data: Data, i: int, j: int, reason: int) -> int:
    """Return the reason of a pair with the filters that ``_judge`` leaves aside."""
    if data.mode == CROSS and reason in (KEPT, MAX_SCORE):
        within = _within_modalities(data, i, j)
        if within != KEPT:
            return within
    if reason == KEPT and len(data.margin) and _beyond_margin(data, i, j):
        return MARGIN
    return reason


@_plain
def _bounded(
    data: Data,
    first: float,
    second: float,
    first_error: float,
    second_error: float,
    same_group: bool,
    score_error: float,
) -> tuple[int, float, float]:
    """Return (reason, low, high) of a pair whose similarities are known up to these errors.

    ``score_error`` is the relative rounding error of the score itself.
    """
    low = _score(data, first - first_error, second - second_error) * (1 - score_error)
    high = _score(data, first + first_error, second + second_error) * (1 + score_error)
    reason = _judge(
        data,
        first - first_error,
        first + first_error,
        second - second_error,
        second + second_error,
        low,
        high,
        same_group,
    )
    return reason, low, high


@_plain
def _exact(data: Data, i: int, j: int) -> Any:
    """Return (reason, float32 score) of a pair; ``_final_reason`` applies what is left aside.

    A sum in any order (vectorized, eight times as fast) differs from the ordered one by at most
    ``sum_error``. Where float32 score and reason are the same over that whole interval, they are
    those of the ordered sum. The ordered sum is made for the others, one pair in a million.
    """
    same_group = _same_group(data.groups, i, j)
    first, second = _similarities(data, i, j)
    error = data.sum_error
    reason, low, high = _bounded(data, first, second, error, error, same_group, 2.0**-50)
    if reason != UNCERTAIN and np.float32(low) == np.float32(high):
        return reason, np.float32(low)
    first, second = _ordered_similarities(data, i, j)
    reason, low, high = _bounded(data, first, second, 0.0, 0.0, same_group, 0.0)
    return reason, np.float32(low)


@_plain
def _rank_key(score: Any, row_number: Any) -> Any:
    """Return a uint64 that sorts as (score descending, row number ascending).

    Positive floats sort as their bits do.
    """
    bits = np.float32(score).view(np.uint32)
    return ((np.uint64(0xFFFFFFFF) - np.uint64(bits)) << np.uint64(32)) | np.uint64(row_number)


@_plain
def _score_of_key(key: Any) -> Any:
    return np.uint32(np.uint64(0xFFFFFFFF) - (key >> np.uint64(32))).view(np.float32)


@_plain
def nudged(score: float) -> Any:
    """Return the threshold that a score must exceed to outrank or tie with ``score`` as float32."""
    return np.float32(score * (1 - NUDGE)) if score > 1e-30 else np.float32(0)


@_plain
def _kth_largest(values: np.ndarray, count: int, k: int) -> Any:
    """Return the k-th largest (from 1) of ``values[:count]``; reorders them (Hoare's selection)."""
    left, right, target = 0, count - 1, k - 1
    while left < right:
        pivot = values[(left + right) // 2]
        a, b = left, right
        while a <= b:
            while values[a] > pivot:
                a += 1
            while values[b] < pivot:
                b -= 1
            if a <= b:
                values[a], values[b] = values[b], values[a]
                a += 1
                b -= 1
        if target <= b:
            right = b
        elif target >= a:
            left = a
        else:
            break
    return values[target]


@_plain
def _move(lists: CandidateLists, slot: int, source: int, target: int) -> None:
    """Copy one entry of a list over another one."""
    lists.column[slot, target] = lists.column[slot, source]
    lists.high[slot, target] = lists.high[slot, source]
    lists.low[slot, target] = lists.low[slot, source]
    lists.reason[slot, target] = lists.reason[slot, source]


@_plain
def _raise_threshold(data: Data, lists: CandidateLists, scratch: Scratch, slot: int) -> None:
    """Raise the threshold to the last kept rank's lower bound; drop what does not reach it."""
    lows, kept = scratch.lows, 0
    for e in range(lists.entries[slot]):
        if lists.reason[slot, e] == KEPT:
            lows[kept] = lists.low[slot, e]
            kept += 1
    if kept >= data.depth:
        lowest = nudged(_kth_largest(lows, kept, data.depth))
        lists.threshold[slot] = max(lists.threshold[slot], lowest)
    _drop(lists, slot, False)


@_plain
def _drop(lists: CandidateLists, slot: int, removed: bool) -> None:
    """Drop entries below the threshold and, with ``removed``, all that filters removed."""
    count = 0
    for e in range(lists.entries[slot]):
        if lists.high[slot, e] >= lists.threshold[slot] and not (
            removed and lists.reason[slot, e] != KEPT
        ):
            _move(lists, slot, e, count)
            count += 1
    lists.entries[slot] = count


@_plain
def _settle(data: Data, lists: CandidateLists, slot: int) -> None:
    """Replace the bounds of all entries by their exact float32 scores."""
    for e in range(lists.entries[slot]):
        if lists.low[slot, e] != lists.high[slot, e]:
            score = _exact(data, lists.first_row + slot, lists.column[slot, e])[1]
            lists.low[slot, e] = score
            lists.high[slot, e] = score


@_plain
def _sort(values: np.ndarray, count: int) -> None:
    """Sort ``values[:count]`` (heap sort: no worst case)."""
    for start in range(count // 2 - 1, -1, -1):
        _sift(values, start, count)
    for end in range(count - 1, 0, -1):
        values[0], values[end] = values[end], values[0]
        _sift(values, 0, end)


@_plain
def _sift(values: np.ndarray, root: int, end: int) -> None:
    while 2 * root + 1 < end:
        child = 2 * root + 1
        if child + 1 < end and values[child] < values[child + 1]:
            child += 1
        if values[root] >= values[child]:
            break
        values[root], values[child] = values[child], values[root]
        root = child


@_plain
def _key_of_entry(data: Data, lists: CandidateLists, slot: int, e: int) -> Any:
    return _rank_key(lists.low[slot, e], data.row_number[lists.column[slot, e]])


@_plain
def _sorted_keys(data: Data, lists: CandidateLists, keys: np.ndarray, slot: int) -> int:
    """Write the rank keys of a settled row's kept entries in order; return how many."""
    count = 0
    for e in range(lists.entries[slot]):
        if lists.reason[slot, e] == KEPT:
            keys[count] = _key_of_entry(data, lists, slot, e)
            count += 1
    _sort(keys, count)
    return count


@_plain
def _make_room(data: Data, lists: CandidateLists, scratch: Scratch, slot: int) -> None:
    """Empty at least a quarter of a full list.

    What is dropped does not belong there or, if a filter removed it, is counted again later.
    """
    enough = lists.column.shape[1] * 3 // 4
    _raise_threshold(data, lists, scratch, slot)
    if lists.entries[slot] <= enough:
        return
    _settle(data, lists, slot)  # many near ties: exact scores tell most of them apart
    _raise_threshold(data, lists, scratch, slot)
    if lists.entries[slot] <= enough:
        return
    for e in range(lists.entries[slot]):
        if lists.reason[slot, e] != KEPT:
            lists.overflowed[slot] = 1
    _drop(lists, slot, True)
    if lists.entries[slot] > enough:  # exact ties: the row number decides, once and for all
        _sorted_keys(data, lists, scratch.keys, slot)
        last = scratch.keys[data.depth - 1]
        count = 0
        for e in range(lists.entries[slot]):
            if _key_of_entry(data, lists, slot, e) <= last:
                _move(lists, slot, e, count)
                count += 1
        lists.entries[slot] = count


@_plain
def _offer(
    data: Data,
    lists: CandidateLists,
    scratch: Scratch,
    slot: int,
    other: int,
    block: Block,
    r: int,
    c: int,
) -> None:
    """Offer the row ``other`` to the list of ``slot`` with similarities [r, c] of a block."""
    first, second = np.float64(_value(block.first[r, c])), 0.0
    if data.mode != SINGLE:
        second = np.float64(_value(block.second[r, c]))
    first_error = abs(first) * BFLOAT16_ROUNDING + np.float64(block.errors[0])
    second_error = abs(second) * BFLOAT16_ROUNDING + np.float64(block.errors[1])
    _offer_within(data, lists, scratch, slot, other, first, second, first_error, second_error)


@_plain
def _offer_within(
    data: Data,
    lists: CandidateLists,
    scratch: Scratch,
    slot: int,
    other: int,
    first: float,
    second: float,
    first_error: float,
    second_error: float,
) -> None:
    """Put a pair into a list if it may belong there, or if a filter removed it from there.

    The similarities ``first`` and ``second`` are known up to their errors, all in float64.
    """
    row = lists.first_row + slot
    if row == other:
        return
    same_group = _same_group(data.groups, row, other)
    reason, low, high = _bounded(data, first, second, first_error, second_error, same_group, NUDGE)
    if reason == NOTHING or high < lists.threshold[slot]:
        return
    if reason == UNCERTAIN:
        reason, low = _exact(data, row, other)
        high = low
        if reason == NOTHING:
            return
    reason = _final_reason(data, row, other, reason)
    if reason != KEPT and lists.overflowed[slot]:
        return
    if lists.entries[slot] == lists.column.shape[1]:
        _make_room(data, lists, scratch, slot)
        if reason != KEPT and lists.overflowed[slot]:
            return
    e = lists.entries[slot]
    lists.column[slot, e] = other
    lists.high[slot, e] = high
    lists.low[slot, e] = low
    lists.reason[slot, e] = reason
    lists.entries[slot] = e + 1


@_plain
def _upper(code: Any, error: Any) -> Any:
    value = _value(code)
    return value + (abs(value) * np.float32(BFLOAT16_ROUNDING) + error)


@_plain
def _upper_scores(
    mode: int,
    first: np.ndarray,
    second: np.ndarray,
    first_error: Any,
    second_error: Any,
    tables: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write upper bounds of the scores of ``len(out)`` pairs: the loop that sees every pair.

    It vectorizes only in this form: on slices that start at 0 and with all numbers in local
    variables.
    """
    if mode == SINGLE:
        for c in range(len(out)):
            out[c] = _upper(first[c], first_error)
    elif mode == PRODUCT:
        for c in range(len(out)):
            out[c] = max(_upper(first[c], first_error), np.float32(0)) * _upper(
                second[c], second_error
            )
    elif mode == CROSS:
        for c in range(len(out)):
            out[c] = max(_upper(first[c], first_error), _upper(second[c], second_error))
    else:
        for c in range(len(out)):
            out[c] = tables[0, first[c]] * tables[1, second[c]]


@_plain
def _scan(mode: int, block: Block, r: int, start: int, out: np.ndarray) -> None:
    """Write upper bounds of ``len(out)`` pairs of one row of a block, from column ``start`` on."""
    stop = start + len(out)
    _upper_scores(
        mode,
        block.first[r, start:stop],
        block.second[r, start:stop],
        block.errors[0],
        block.errors[1],
        block.tables,
        out,
    )


@_plain
def _above(scores: np.ndarray, threshold: Any, positions: np.ndarray) -> int:
    """Write the positions of scores above one threshold; return how many."""
    count = 0
    for c in range(len(scores)):
        count += scores[c] > threshold
    if count:
        count = 0
        # Without a branch: the position is written, and stays if the next one does not replace it.
        for c in range(len(scores)):
            positions[count] = c
            count += scores[c] > threshold
    return count


@_plain
def _above_each(scores: np.ndarray, thresholds: np.ndarray, positions: np.ndarray) -> int:
    """Do what ``_above`` does with a threshold for each score."""
    count = 0
    for c in range(len(scores)):
        count += scores[c] > thresholds[c]
    if count:
        count = 0
        for c in range(len(scores)):
            positions[count] = c
            count += scores[c] > thresholds[c]
    return count


@_plain
def _offer_best(
    data: Data, lists: CandidateLists, scratch: Scratch, slot: int, block: Block, r: int
) -> Any:
    """Offer the best pairs of a row to its list, which has no threshold yet.

    The list then has a high threshold before the other pairs are scanned.

    Returns:
        The upper bound of a score from which on all pairs of the row have been offered.
    """
    columns = block.first.shape[1]
    for start in range(0, columns, CHUNK):
        _scan(data.mode, block, r, start, scratch.row_scores[start : min(start + CHUNK, columns)])
    for c in range(columns):
        scratch.selection[c] = scratch.row_scores[c]
    offered_from = _kth_largest(scratch.selection, columns, data.depth + data.depth // 4)
    for c in range(columns):
        score = scratch.row_scores[c]
        if score >= offered_from and score > lists.threshold[slot]:
            _offer(data, lists, scratch, slot, block.column + c, block, r, c)
    if lists.entries[slot] >= data.depth:
        _raise_threshold(data, lists, scratch, slot)
    return offered_from


@_plain
def offer_rows(
    begin: int, end: int, scratch: Scratch, data: Data, lists: CandidateLists, block: Block
) -> None:
    """Offer the columns of a block to the lists of its rows [begin, end)."""
    columns, positions = block.first.shape[1], scratch.positions
    lowest = nudged(data.limits[LEAST])
    for r in range(begin, end):
        slot = block.row + r - lists.first_row
        offered_from = np.float32(np.inf)
        fresh = lists.threshold[slot] <= lowest and lists.entries[slot] < data.depth
        if fresh and columns >= 2 * data.depth:
            offered_from = _offer_best(data, lists, scratch, slot, block, r)
        for start in range(0, columns, CHUNK):
            scores = scratch.scores[: min(CHUNK, columns - start)]
            _scan(data.mode, block, r, start, scores)
            for p in range(_above(scores, lists.threshold[slot], positions)):
                if scores[positions[p]] >= offered_from:
                    continue
                c = start + positions[p]
                _offer(data, lists, scratch, slot, block.column + c, block, r, c)
        if lists.entries[slot] >= 2 * data.depth:
            _raise_threshold(data, lists, scratch, slot)


@_plain
def offer_columns(
    begin: int, end: int, scratch: Scratch, data: Data, lists: CandidateLists, block: Block
) -> None:
    """Offer the rows of a block to the lists of its columns [begin, end): scores are symmetric."""
    positions, first_slot = scratch.positions, block.column - lists.first_row
    for r in range(block.first.shape[0]):
        for start in range(begin, end, CHUNK):
            stop = min(start + CHUNK, end)
            scores = scratch.scores[: stop - start]
            _scan(data.mode, block, r, start, scores)
            thresholds = lists.threshold[first_slot + start : first_slot + stop]
            for p in range(_above_each(scores, thresholds, positions)):
                c = start + positions[p]
                _offer(data, lists, scratch, first_slot + c, block.row + r, block, r, c)
    for slot in range(first_slot + begin, first_slot + end):
        if lists.entries[slot] >= 2 * data.depth:
            _raise_threshold(data, lists, scratch, slot)


@_plain
def offer_pairs(
    begin: int, end: int, scratch: Scratch, data: Data, lists: CandidateLists, pairs: Pairs
) -> None:
    """Offer candidate pairs [begin, end) to their lists; the range must hold whole slots.

    A list with twice its depth of entries then raises its threshold, so that the next batch brings
    fewer pairs.
    """
    for p in range(begin, end):
        slot = pairs.slots[p]
        first, second = np.float64(pairs.values[pairs.codes[p, 0]]), 0.0
        if data.mode != SINGLE:
            second = np.float64(pairs.values[pairs.codes[p, 1]])
        first_error = abs(first) * pairs.rounding + pairs.errors[0]
        second_error = abs(second) * pairs.rounding + pairs.errors[1]
        _offer_within(
            data, lists, scratch, slot, pairs.others[p], first, second, first_error, second_error
        )
        last_of_slot = p + 1 == end or pairs.slots[p + 1] != slot
        if last_of_slot and lists.entries[slot] >= 2 * data.depth:
            _raise_threshold(data, lists, scratch, slot)


@_plain
def raise_thresholds(
    begin: int, end: int, scratch: Scratch, data: Data, lists: CandidateLists
) -> None:
    """Raise the thresholds of slots [begin, end) and drop what does not reach them."""
    for slot in range(begin, end):
        _raise_threshold(data, lists, scratch, slot)


@_plain
def settle(begin: int, end: int, scratch: Scratch, data: Data, lists: CandidateLists) -> None:
    """Do what ``raise_thresholds`` does, and make the scores of the other entries exact."""
    for slot in range(begin, end):
        _raise_threshold(data, lists, scratch, slot)
        _settle(data, lists, slot)


@_plain
def own_similarity(first: np.ndarray, second: np.ndarray, out: np.ndarray) -> None:
    """Write x_i . y_i to ``out`` (M,) float64, for vectors of one space."""
    for i in range(len(first)):
        out[i] = _ordered_dot(first, i, second, i)


@_plain
def decide(
    begin: int,
    end: int,
    scratch: Scratch,
    data: Data,
    lists: CandidateLists,
    decided: Decided,
) -> None:
    """Write the final lists of slots [begin, end) into ``decided``."""
    for slot in range(begin, end):
        _raise_threshold(data, lists, scratch, slot)
        _settle(data, lists, slot)
        keys, count = scratch.keys, _sorted_keys(data, lists, scratch.keys, slot)
        for rank in range(min(data.depth, count)):
            decided.indices[slot, rank] = np.int64(keys[rank] & np.uint64(0xFFFFFFFF))
            decided.scores[slot, rank] = _score_of_key(keys[rank])
        decided.last_key[slot] = keys[data.depth - 1] if count >= data.depth else NO_KEY
        for e in range(lists.entries[slot]):
            reason = lists.reason[slot, e]
            if reason != KEPT and _key_of_entry(data, lists, slot, e) < decided.last_key[slot]:
                decided.removed[slot, reason] += 1


@_plain
def score_listed(
    begin: int,
    end: int,
    scratch: Scratch,
    data: Data,
    first_row: int,
    listed: np.ndarray,
    scores: np.ndarray,
    reasons: np.ndarray,
) -> None:
    """Write the score and the reason of each listed pair of lists [begin, end).

    Args:
        begin: First list.
        end: First list that is left out.
        scratch: Memory of this thread.
        data: What scores are made of.
        first_row: The row of list 0.
        listed: (R, C) int64 rows; negative ones are skipped.
        scores: (R, C) float32.
        reasons: (R, C) int8.
    """
    for r in range(begin, end):
        for c in range(listed.shape[1]):
            if listed[r, c] >= 0:
                reason, score = _exact(data, first_row + r, listed[r, c])
                reasons[r, c] = _final_reason(data, first_row + r, listed[r, c], reason)
                scores[r, c] = score


@_plain
def _count_if_removed(data: Data, row: int, other: int, last_key: Any, removed: np.ndarray) -> None:
    """Count a pair in ``removed`` if a filter removed it and it outranks ``last_key``."""
    if other == row:
        return
    reason, score = _exact(data, row, other)
    reason = _final_reason(data, row, other, reason)
    if reason > KEPT and _rank_key(score, data.row_number[other]) < last_key:
        removed[reason] += 1


@_plain
def _threshold_of_key(key: Any) -> Any:
    """Return the threshold of a row whose last kept entry has this rank key."""
    return np.float32(0) if key == NO_KEY else nudged(_score_of_key(key))


@_plain
def thresholds_of_keys(keys: np.ndarray, out: np.ndarray) -> None:
    """Write the thresholds of rows whose last kept entries have these rank keys, (R,) float32."""
    for r in range(len(keys)):
        out[r] = _threshold_of_key(keys[r])


@_plain
def count_removed(
    begin: int,
    end: int,
    scratch: Scratch,
    data: Data,
    rows: np.ndarray,
    block: Block,
    last_key: np.ndarray,
    removed: np.ndarray,
) -> None:
    """Count what filters removed from rows [begin, end) of a block, ahead of their last entries.

    Args:
        begin: First row of the block that is counted.
        end: First row of the block that is not.
        scratch: Memory of this thread.
        data: What scores are made of.
        rows: (R,) int64 numbers of the block's rows, which need not be consecutive.
        block: Similarities of these rows.
        last_key: (R,) uint64 rank keys of the rows' last kept entries.
        removed: (R, REASONS) int64, to which the counts are added.
    """
    columns, positions = block.first.shape[1], scratch.positions
    for r in range(begin, end):
        threshold = _threshold_of_key(last_key[r])
        for start in range(0, columns, CHUNK):
            scores = scratch.scores[: min(CHUNK, columns - start)]
            _scan(data.mode, block, r, start, scores)
            for p in range(_above(scores, threshold, positions)):
                other = block.column + start + positions[p]
                _count_if_removed(data, rows[r], other, last_key[r], removed[r])


@_plain
def count_removed_pairs(
    begin: int,
    end: int,
    scratch: Scratch,
    data: Data,
    rows: np.ndarray,
    pairs: Pairs,
    last_key: np.ndarray,
    removed: np.ndarray,
) -> None:
    """Do what ``count_removed`` does for candidate pairs [begin, end); slots index ``rows``."""
    for p in range(begin, end):
        slot = pairs.slots[p]
        _count_if_removed(data, rows[slot], pairs.others[p], last_key[slot], removed[slot])
