"""The compiled loops of the search: look through blocks of low-precision similarities, keep what may belong, decide in float64.

Words used here. A row has a *list* of candidates: the ``top_k`` best so far and whatever is too close to call. An *entry* is one
candidate j of row i with bounds ``low <= score(i, j) <= high`` and the reason it is left out for, if any (``KEPT`` otherwise). A row's
*threshold* is below the float32 score of its K-th best kept entry; a pair whose upper bound does not reach it cannot belong, nor tie.
Entries that a filter removes stand in the lists too, as long as they outrank the K-th kept one, so that they can be counted.

All arithmetic that decides is float64 on float32 unit rows, added up from the first component to the last, so that the result depends
on nothing but the two rows.

Without numba (no wheel for a platform, or NUMBA_DISABLE_JIT) the same functions run as Python, with the loops over numbers in numpy
(``hardpairs.mining.uncompiled``): the same bytes, some hundred times slower.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    import numba
except ImportError:
    numba = None  # type: ignore[assignment]

KEPT, GROUP, DUPLICATE, FLOOR, MAX_IMAGE, MIN_IMAGE, MAX_TEXT, MIN_TEXT, MAX_SCORE, MARGIN = range(
    10
)
REASONS = 10
UNCERTAIN, NOTHING = -1, -2

SINGLE, PRODUCT, WEIGHTED = range(3)
"""How factors make a score: the first alone, the product, or powers 2w and 2 - 2w of them."""

Data = namedtuple("Data", "first second groups original margin limits mode weight slack")
"""What scores are made of, rows in search order.

first, second: (M, D) float32 unit rows; second has width 0 in SINGLE mode.
groups: (M, G) int64. original: (M,) int64 row numbers that break ties. margin: (M,) float64, what x_i.y_j must not exceed; (0,) if off.
limits: (10,) float64, see ``_judge``. weight: w. slack: bound on |float64 sum in any order - ordered sum|.
"""

State = namedtuple("State", "column high low reason count threshold spilled")
"""The lists of rows: column (R, C) int32, high and low (R, C) float32, reason (R, C) int8, count (R,) int32, threshold (R,) float32.

spilled: (R,) uint8, 1 where removed entries did not fit and were dropped; such rows are counted again at the end.
"""

Scratch = namedtuple("Scratch", "scores found lows places row ranked")
"""A thread's room: scores (CHUNK,) float32, found (CHUNK + 1,) int64; lows (C,) float32, places (C,) uint64 for one list; row and ranked
(B,) float32 for one row of a block."""

(
    LEAST,
    DUPLICATE_LIMIT,
    FLOOR_FIRST,
    FLOOR_SECOND,
    MAX_FIRST,
    MIN_FIRST,
    MAX_SECOND,
    MIN_SECOND,
    MAX_PRODUCT,
) = range(9)

ROUNDING = 2.0**-8 / (1 - 2.0**-8)
"""Of a value rounded to bfloat16 (8 significant bits, to nearest): its error is at most this times the rounded value."""
NUDGE = 2.0**-21
"""Relative room for float32 rounding of bounds, thresholds and keys (2^-24 each, a few of them)."""
TINY = 2.0**-150
"""A score up to here is 0 once stored as float32."""
NOWHERE = np.uint64(0xFFFFFFFFFFFFFFFF)
"""The place after all places."""
COMPILED = numba is not None and not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
CHUNK = 128 if COMPILED else 4096
"""Columns looked at together; only a chunk with a hit is looked into."""


def _compiler(**more: Any) -> Callable[[Callable], Callable]:
    """A decorator that compiles at the first call, and keeps the machine code on disk where there is a folder for it.

    None of these loops allocates, so numba's reference counting is off: it cost more than the work on a pair. What they need besides their
    arguments is in ``Scratch``. They run without the GIL, each thread on its own range of rows.
    """
    if not COMPILED:
        return lambda function: function
    options = {"error_model": "numpy", "nogil": True, "_nrt": False, **more}

    def compiled(function: Callable) -> Callable:
        try:
            return numba.njit(**options, cache=True)(function)
        except RuntimeError:  # neither beside this file nor in the home folder may anything be written: compiled at each start
            return numba.njit(**options)(function)

    return compiled


_plain = _compiler()
_fast = _compiler(fastmath={"reassoc", "contract", "nsz"})


@_fast
def _dot(left, i, right, j):
    """x_i . y_j in float64, summed in any order (vectorised)."""
    total = 0.0
    for k in range(left.shape[1]):
        total += np.float64(left[i, k]) * np.float64(right[j, k])
    return total


@_plain
def _ordered_dot(left, i, right, j):
    """x_i . y_j in float64, from the first component to the last: the sum that decides. (Written out again: numba's cache knows a function by
    its place in the file, so one that is compiled in two ways would be taken for the other.)"""
    total = 0.0
    for k in range(left.shape[1]):
        total += np.float64(left[i, k]) * np.float64(right[j, k])
    return total


@_plain
def _value(code):
    """bfloat16 bits as float32: they are its upper half."""
    return np.uint32(np.uint32(code) << np.uint32(16)).view(np.float32)


@_plain
def _score(data, first, second):
    first = max(first, 0.0)
    if data.mode == SINGLE:
        return first
    second = max(second, 0.0)
    if data.mode == PRODUCT:
        return first * second
    return first ** (2 * data.weight) * second ** (2 - 2 * data.weight)


@_plain
def _over(low, high, limit):
    """Is a number in [low, high] above ``limit``: 1 yes, 0 no, -1 uncertain."""
    if low > limit:
        return 1
    return -1 if high > limit else 0


@_plain
def _judge(limits, first_low, first_high, second_low, second_high, low, high, related):
    """What becomes of a pair whose similarities and score lie in these intervals: KEPT, the first filter that removes it, ...

    NOTHING: it scores 0, or below anything that could be kept. UNCERTAIN: the intervals are too wide to say.
    """
    if high <= TINY or high < limits[LEAST]:
        return NOTHING
    if low <= TINY or low < limits[LEAST]:
        return UNCERTAIN
    if related:
        return GROUP
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
    answer = _over(low, high, limits[MAX_PRODUCT])
    if answer == 1:
        return MAX_SCORE
    return UNCERTAIN if answer == -1 else KEPT


@_plain
def _related(groups, i, j):
    for g in range(groups.shape[1]):  # noqa: SIM110 (compiled: no generators)
        if groups[i, g] == groups[j, g]:
            return True
    return False


@_plain
def _beyond_margin(data, i, j):
    """Positive-aware margin: is x_i.y_j or y_i.x_j above what row i allows."""
    limit = data.margin[i]
    for left, right in ((data.first, data.second), (data.second, data.first)):
        similarity = _dot(left, i, right, j)
        if abs(similarity - limit) <= data.slack:
            similarity = _ordered_dot(left, i, right, j)
        if similarity > limit:
            return True
    return False


@_plain
def _bounded(data, first, second, first_error, second_error, related, room):
    """(reason, low, high) of a pair whose similarities are known up to these errors; ``room`` is the score's own relative rounding."""
    low = _score(data, first - first_error, second - second_error) * (1 - room)
    high = _score(data, first + first_error, second + second_error) * (1 + room)
    reason = _judge(
        data.limits,
        first - first_error,
        first + first_error,
        second - second_error,
        second + second_error,
        low,
        high,
        related,
    )
    return reason, low, high


@_plain
def _exact(data, i, j):
    """(reason, float32 score) of a pair, margins left aside.

    A sum in any order (vectorised, eight times as fast) differs from the ordered one by at most ``slack``. Where the float32 score
    and the reason are the same over that whole interval, they are those of the ordered sum; else (one pair in a million) that is done.
    """
    related = _related(data.groups, i, j)
    reason, low, high = _bounded(
        data,
        _dot(data.first, i, data.first, j),
        _dot(data.second, i, data.second, j),
        data.slack,
        data.slack,
        related,
        2.0**-50,
    )
    if reason != UNCERTAIN and np.float32(low) == np.float32(high):
        return reason, np.float32(low)
    first, second = (
        _ordered_dot(data.first, i, data.first, j),
        _ordered_dot(data.second, i, data.second, j),
    )
    reason, low, high = _bounded(data, first, second, 0.0, 0.0, related, 0.0)
    return reason, np.float32(low)


@_plain
def _place(score, original):
    """A number that sorts as (score descending, row number ascending); positive floats order as their bits."""
    bits = np.float32(score).view(np.uint32)
    return ((np.uint64(0xFFFFFFFF) - np.uint64(bits)) << np.uint64(32)) | np.uint64(original)


@_plain
def _score_at(place):
    return np.uint32(np.uint64(0xFFFFFFFF) - (place >> np.uint64(32))).view(np.float32)


@_plain
def nudged(score):
    """A threshold that a score must exceed to come before or tie with ``score`` once both are float32."""
    return np.float32(score * (1 - NUDGE)) if score > 1e-30 else np.float32(0)


@_plain
def _kth_largest(values, count, k):
    """The k-th largest (from 1) of ``values[:count]``, which it reorders (Hoare's selection)."""
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
def _raise_threshold(state, scratch, top_k, slot):
    """Sets the threshold from the K-th largest lower bound of the kept entries, and drops what does not reach it."""
    lows, kept = scratch.lows, 0
    for e in range(state.count[slot]):
        if state.reason[slot, e] == KEPT:
            lows[kept] = state.low[slot, e]
            kept += 1
    if kept >= top_k:
        state.threshold[slot] = max(state.threshold[slot], nudged(_kth_largest(lows, kept, top_k)))
    _drop(state, slot, False)


@_plain
def _drop(state, slot, removed):
    """Drops entries below the threshold, and with ``removed`` all that filters removed."""
    to = 0
    for e in range(state.count[slot]):
        if state.high[slot, e] >= state.threshold[slot] and not (
            removed and state.reason[slot, e] != KEPT
        ):
            state.column[slot, to] = state.column[slot, e]
            state.high[slot, to] = state.high[slot, e]
            state.low[slot, to] = state.low[slot, e]
            state.reason[slot, to] = state.reason[slot, e]
            to += 1
    state.count[slot] = to


@_plain
def _settle(data, state, slot, row):
    """Replaces the bounds of all entries by their exact float32 scores."""
    for e in range(state.count[slot]):
        if state.low[slot, e] != state.high[slot, e]:
            score = _exact(data, row, state.column[slot, e])[1]
            state.low[slot, e] = score
            state.high[slot, e] = score


@_plain
def _sort(values, count):
    """Sorts ``values[:count]`` (heap sort: no worst case)."""
    for start in range(count // 2 - 1, -1, -1):
        _sift(values, start, count)
    for end in range(count - 1, 0, -1):
        values[0], values[end] = values[end], values[0]
        _sift(values, 0, end)


@_plain
def _sift(values, root, end):
    while 2 * root + 1 < end:
        child = 2 * root + 1
        if child + 1 < end and values[child] < values[child + 1]:
            child += 1
        if values[root] >= values[child]:
            break
        values[root], values[child] = values[child], values[root]
        root = child


@_plain
def _sorted_places(data, state, places, slot):
    """Writes the places of a settled row's kept entries to ``places``, in order; returns how many."""
    count = 0
    for e in range(state.count[slot]):
        if state.reason[slot, e] == KEPT:
            places[count] = _place(state.low[slot, e], data.original[state.column[slot, e]])
            count += 1
    _sort(places, count)
    return count


@_plain
def _make_room(data, state, scratch, top_k, slot, row):
    """Empties at least a quarter of a full list. What is dropped does not belong, or (removed entries) is counted again later."""
    enough = state.column.shape[1] * 3 // 4
    _raise_threshold(state, scratch, top_k, slot)
    if state.count[slot] <= enough:
        return
    _settle(data, state, slot, row)  # many near ties: their exact scores tell most of them apart
    _raise_threshold(state, scratch, top_k, slot)
    if state.count[slot] <= enough:
        return
    for e in range(state.count[slot]):
        if state.reason[slot, e] != KEPT:
            state.spilled[slot] = 1
    _drop(state, slot, True)
    if state.count[slot] > enough:  # exact ties: the row number decides, once and for all
        _sorted_places(data, state, scratch.places, slot)
        last = scratch.places[top_k - 1]
        to = 0
        for e in range(state.count[slot]):
            if _place(state.low[slot, e], data.original[state.column[slot, e]]) <= last:
                state.column[slot, to] = state.column[slot, e]
                state.high[slot, to] = state.high[slot, e]
                state.low[slot, to] = state.low[slot, e]
                state.reason[slot, to] = KEPT
                to += 1
        state.count[slot] = to


@_plain
def _offer(
    data, state, scratch, top_k, slot, row, column, first, second, first_error, second_error
):
    """Puts a pair into the row's list if it may belong there, or if a filter removed it from there.

    first, second: the similarities as multiplied, float32; in SINGLE mode second is anything.
    """
    one, other = np.float64(first), 0.0 if data.mode == SINGLE else np.float64(second)
    one_error, other_error = (
        abs(one) * ROUNDING + np.float64(first_error),
        abs(other) * ROUNDING + np.float64(second_error),
    )
    _offer_within(
        data, state, scratch, top_k, slot, row, column, one, other, one_error, other_error
    )


@_plain
def _offer_within(
    data, state, scratch, top_k, slot, row, column, one, other, one_error, other_error
):
    """``_offer`` with similarities that are known up to these errors, all float64."""
    if row == column:
        return
    reason, low, high = _bounded(
        data, one, other, one_error, other_error, _related(data.groups, row, column), NUDGE
    )
    if reason == NOTHING or high < state.threshold[slot]:
        return
    if reason == UNCERTAIN:
        reason, low = _exact(data, row, column)
        high = low
        if reason == NOTHING:
            return
    if reason == KEPT and len(data.margin) and _beyond_margin(data, row, column):
        reason = MARGIN
    if reason != KEPT and state.spilled[slot]:
        return
    if state.count[slot] == state.column.shape[1]:
        _make_room(data, state, scratch, top_k, slot, row)
        if reason != KEPT and state.spilled[slot]:
            return
    e = state.count[slot]
    state.column[slot, e] = column
    state.high[slot, e] = high
    state.low[slot, e] = low
    state.reason[slot, e] = reason
    state.count[slot] = e + 1


@_plain
def _upper(code, error):
    value = _value(code)
    return value + (abs(value) * np.float32(ROUNDING) + error)


@_plain
def _upper_scores(mode, first, second, first_error, second_error, tables, out):
    """Upper bounds of the scores of ``len(out)`` pairs: the loop that sees every pair. It vectorises only as it stands here, on slices
    that start at 0 and with all numbers in local variables."""
    if mode == SINGLE:
        for c in range(len(out)):
            out[c] = _upper(first[c], first_error)
    elif mode == PRODUCT:
        for c in range(len(out)):
            out[c] = max(_upper(first[c], first_error), np.float32(0)) * _upper(
                second[c], second_error
            )
    else:
        for c in range(len(out)):
            out[c] = tables[0, first[c]] * tables[1, second[c]]


@_plain
def _above(scores, threshold, found):
    """Writes the places of scores above one threshold to ``found``; returns how many."""
    hits = 0
    for c in range(len(scores)):
        hits += scores[c] > threshold
    if hits:
        hits = 0
        for c in range(
            len(scores)
        ):  # without a branch: the place is written, and stays if the next one does not take its slot
            found[hits] = c
            hits += scores[c] > threshold
    return hits


@_plain
def _above_each(scores, thresholds, found):
    """``_above`` with a threshold for each score."""
    hits = 0
    for c in range(len(scores)):
        hits += scores[c] > thresholds[c]
    if hits:
        hits = 0
        for c in range(len(scores)):
            found[hits] = c
            hits += scores[c] > thresholds[c]
    return hits


if not COMPILED:  # here, not above: it imports this module's constants
    from hardpairs.mining.uncompiled import above as _above
    from hardpairs.mining.uncompiled import above as _above_each
    from hardpairs.mining.uncompiled import dot as _dot
    from hardpairs.mining.uncompiled import ordered_dot as _ordered_dot
    from hardpairs.mining.uncompiled import upper_scores as _upper_scores


@_plain
def _offer_best(data, state, scratch, top_k, slot, row, column, first, second, errors, tables):
    """Offers the best of a row's pairs to its list, which has no threshold yet, so that it has a high one before the others are looked at. Returns the upper bound of a score from which on all are offered."""
    columns = len(first)
    for start in range(0, columns, CHUNK):
        stop = min(start + CHUNK, columns)
        _upper_scores(
            data.mode,
            first[start:stop],
            second[start:stop],
            errors[0],
            errors[1],
            tables,
            scratch.row[start:stop],
        )
    for c in range(columns):
        scratch.ranked[c] = scratch.row[c]
    most = _kth_largest(scratch.ranked, columns, top_k + top_k // 4)
    for c in range(columns):
        if scratch.row[c] >= most and scratch.row[c] > state.threshold[slot]:
            _offer(
                data,
                state,
                scratch,
                top_k,
                slot,
                row,
                column + c,
                _value(first[c]),
                _value(second[c]),
                errors[0],
                errors[1],
            )
    if state.count[slot] >= top_k:
        _raise_threshold(state, scratch, top_k, slot)
    return most


@_plain
def sweep_rows(
    begin, end, scratch, data, state, top_k, offset, row, column, first, second, errors, tables
):
    """Offers rows [begin, end) of a block of pairs to the lists of these rows.

    Args:
        offset: number of the row that has slot 0 of ``state``. row, column: numbers of the block's first row and column.
        first, second: (m, n) uint16, the block's similarities as bfloat16 bits. errors: (2,) float32, bounds on them but for rounding.
        tables: (2, 65536) float32, upper bounds of the factors by code in WEIGHTED mode; (2, 0) else.
    """
    columns = first.shape[1]
    found = scratch.found
    lowest = nudged(data.limits[LEAST])
    for r in range(begin, end):
        slot = row + r - offset
        most = np.float32(np.inf)
        if state.threshold[slot] <= lowest and state.count[slot] < top_k and columns >= 2 * top_k:
            most = _offer_best(
                data,
                state,
                scratch,
                top_k,
                slot,
                row + r,
                column,
                first[r],
                second[r],
                errors,
                tables,
            )
        for start in range(0, columns, CHUNK):
            stop = min(start + CHUNK, columns)
            scores = scratch.scores[: stop - start]
            _upper_scores(
                data.mode,
                first[r, start:stop],
                second[r, start:stop],
                errors[0],
                errors[1],
                tables,
                scores,
            )
            for f in range(_above(scores, state.threshold[slot], found)):
                if scores[found[f]] >= most:
                    continue
                c = start + found[f]
                _offer(
                    data,
                    state,
                    scratch,
                    top_k,
                    slot,
                    row + r,
                    column + c,
                    _value(first[r, c]),
                    _value(second[r, c]),
                    errors[0],
                    errors[1],
                )
        if state.count[slot] >= 2 * top_k:
            _raise_threshold(state, scratch, top_k, slot)


@_plain
def sweep_columns(
    begin, end, scratch, data, state, top_k, offset, row, column, first, second, errors, tables
):
    """Offers columns [begin, end) of the same block to the lists of these columns: score(i, j) = score(j, i)."""
    found = scratch.found
    base = column - offset
    for r in range(first.shape[0]):
        for start in range(begin, end, CHUNK):
            stop = min(start + CHUNK, end)
            scores = scratch.scores[: stop - start]
            _upper_scores(
                data.mode,
                first[r, start:stop],
                second[r, start:stop],
                errors[0],
                errors[1],
                tables,
                scores,
            )
            for f in range(_above_each(scores, state.threshold[base + start : base + stop], found)):
                c = start + found[f]
                _offer(
                    data,
                    state,
                    scratch,
                    top_k,
                    base + c,
                    column + c,
                    row + r,
                    _value(first[r, c]),
                    _value(second[r, c]),
                    errors[0],
                    errors[1],
                )
    for slot in range(base + begin, base + end):
        if state.count[slot] >= 2 * top_k:
            _raise_threshold(state, scratch, top_k, slot)


@_plain
def offer_pairs(
    begin, end, scratch, data, state, top_k, offset, slots, others, codes, values, rounding, errors
):
    """Offers pairs [begin, end) of a list of pairs, sorted by slot and cut where the slot changes, to the lists of their slots.

    A list that has twice its K entries then raises its threshold, so that fewer pairs are found for it next time.

    Args:
        offset: number of the row that has slot 0. slots, others: (P,) int32, whose list, and the row that is offered to it.
        codes: (P, 2) uint16, the similarities as bits. values: (65536,) float32, what these bits stand for.
        rounding, errors: the similarities are within ``rounding * |value| + errors[0]`` (or [1]) of the exact ones, float64.
    """
    for p in range(begin, end):
        slot = slots[p]
        one, other = (
            np.float64(values[codes[p, 0]]),
            0.0 if data.mode == SINGLE else np.float64(values[codes[p, 1]]),
        )
        one_error, other_error = abs(one) * rounding + errors[0], abs(other) * rounding + errors[1]
        _offer_within(
            data,
            state,
            scratch,
            top_k,
            slot,
            offset + slot,
            others[p],
            one,
            other,
            one_error,
            other_error,
        )
        if (p + 1 == end or slots[p + 1] != slot) and state.count[slot] >= 2 * top_k:
            _raise_threshold(state, scratch, top_k, slot)


@_plain
def raise_thresholds(begin, end, scratch, state, top_k):
    """Raises the thresholds of slots [begin, end) to what their entries allow, and drops what does not reach them."""
    for slot in range(begin, end):
        _raise_threshold(state, scratch, top_k, slot)


@_plain
def own_similarity(first, second, result):
    """Writes x_i . y_i to ``result`` (M,) float64, for rows of one space."""
    for i in range(len(first)):
        result[i] = _ordered_dot(first, i, second, i)


@_plain
def finish(begin, end, scratch, data, state, top_k, offset, indices, scores, removed, last):
    """Decides the lists of slots [begin, end).

    Writes indices (R, K) int64 by original row number, padded with -1; scores (R, K) float32, padded with 0; removed (R, REASONS) int64,
    entries that outrank the last kept one, by filter; last (R,) uint64, the place of that one (NOWHERE for a short list).
    """
    for slot in range(begin, end):
        _raise_threshold(state, scratch, top_k, slot)
        _settle(data, state, slot, offset + slot)
        places, count = scratch.places, _sorted_places(data, state, scratch.places, slot)
        for rank in range(min(top_k, count)):
            indices[slot, rank] = np.int64(places[rank] & np.uint64(0xFFFFFFFF))
            scores[slot, rank] = _score_at(places[rank])
        last[slot] = places[top_k - 1] if count >= top_k else NOWHERE
        for e in range(state.count[slot]):
            reason = state.reason[slot, e]
            if (
                reason != KEPT
                and _place(state.low[slot, e], data.original[state.column[slot, e]]) < last[slot]
            ):
                removed[slot, reason] += 1


@_plain
def _count_if_removed(data, row, other, last, removed):
    """Counts a pair in removed (REASONS,) if a filter removed it and it outranks the place ``last``."""
    if other == row:
        return
    reason, score = _exact(data, row, other)
    if reason == KEPT and len(data.margin) and _beyond_margin(data, row, other):
        reason = MARGIN
    if reason > KEPT and _place(score, data.original[other]) < last:
        removed[reason] += 1


@_plain
def count_removed_pairs(begin, end, scratch, data, rows, slots, others, last, removed):
    """``count_removed`` for pairs [begin, end) of a list of pairs, sorted and cut as for ``offer_pairs``; slots are places in ``rows``."""
    for p in range(begin, end):
        slot = slots[p]
        _count_if_removed(data, rows[slot], others[p], last[slot], removed[slot])


@_plain
def least_score(place):
    """The threshold of a row whose last listed place this is."""
    return np.float32(0) if place == NOWHERE else nudged(_score_at(place))


@_plain
def least_scores(places, result):
    """``least_score`` of all ``places`` (R,), into ``result`` (R,) float32."""
    for r in range(len(places)):
        result[r] = least_score(places[r])


@_plain
def count_removed(
    begin, end, scratch, data, rows, column, first, second, errors, tables, last, removed
):
    """Counts again, for rows [begin, end) of those whose removed entries did not fit: adds to removed (R, REASONS) those of this block that outrank ``last``.

    Args:
        rows: (R,) int64, the row numbers of the block's rows.
    """
    found = scratch.found
    for r in range(begin, end):
        row = rows[r]
        threshold = least_score(last[r])
        for start in range(0, first.shape[1], CHUNK):
            stop = min(start + CHUNK, first.shape[1])
            scores = scratch.scores[: stop - start]
            _upper_scores(
                data.mode,
                first[r, start:stop],
                second[r, start:stop],
                errors[0],
                errors[1],
                tables,
                scores,
            )
            for f in range(_above(scores, threshold, found)):
                _count_if_removed(data, row, column + start + found[f], last[r], removed[r])


def make_scratch(capacity: int, block: int = 0) -> Scratch:
    """Room for one thread, lists of ``capacity`` entries and blocks of ``block`` columns."""
    return Scratch(
        np.empty(CHUNK, np.float32),
        np.empty(CHUNK + 1, np.int64),
        np.empty(capacity, np.float32),
        np.empty(capacity, np.uint64),
        np.empty(block, np.float32),
        np.empty(block, np.float32),
    )
