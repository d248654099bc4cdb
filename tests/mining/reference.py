"""Hard pairs, filters and counts by definition in plain numpy; shares nothing with the search."""

from __future__ import annotations

import math

import numpy as np

from hardpairs.mining.options import REMOVED_BY, MiningOptions


def unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return (
        (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
    )


def dots(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """All products of two sets of rows, each summed from the first component to the last."""
    return np.array([np.cumsum(row * right, axis=1)[:, -1] for row in left])


def reference(image, text, top_k, *, groups=None, exclude=(), pool=None, **options):
    """Return (indices, scores, kept, removed) by walking down all other rows of every row.

    Args:
        image: (N, D) embeddings.
        text: (N, E) embeddings.
        top_k: K.
        groups: (N, G) group ids.
        exclude: Rows that are neither targets nor candidates.
        pool: Rows that may be candidates, by default all; or a function that returns those of a row.
        **options: Further fields of ``MiningOptions``.
    """
    filters = MiningOptions(top_k=top_k, **options)
    image, text = unit(image), unit(text)
    similarity = {"image": dots(image, image), "text": dots(text, text)}
    sides = {"image": ("image",), "text": ("text",)}.get(filters.method, ("image", "text"))
    is_cross = filters.method == "cross-modal"
    cross = dots(image, text) if filters.needs_one_space else None
    count = len(image)
    indices, scores = np.full((count, top_k), -1, np.int64), np.zeros((count, top_k), np.float32)
    removed, kept = dict.fromkeys(REMOVED_BY, 0), 0
    floors = [
        max(0.0, filters.similarity_floor, getattr(filters, f"min_{side}_score") or 0.0)
        for side in sides
    ]
    least = _score(filters, floors) * (1 - 1e-12 * (filters.image_weight != 0.5))
    if is_cross:
        least = max(0.0, filters.similarity_floor)
    least = max(least, filters.min_score or 0.0)
    for i in range(count):
        if i in exclude:
            continue
        ahead, passed, others = [], [], 0
        own_pool = pool(i) if callable(pool) else pool
        for j in range(count):
            if j == i or j in exclude or (own_pool is not None and j not in own_pool):
                continue
            others += 1
            values = [similarity[side][i, j] for side in sides]
            score = max(cross[i, j], cross[j, i]) if is_cross else _score(filters, values)
            if np.float32(score) > 0 and score >= least:
                reason = _reason(
                    filters,
                    sides,
                    values,
                    score,
                    groups is not None and (groups[i] == groups[j]).any(),
                    cross if filters.has_margin else None,
                    i,
                    j,
                )
                ahead.append((-np.float32(score), j, reason))
        for key, j, reason in sorted(ahead, key=lambda entry: entry[:2]):
            if reason is None:
                passed.append((j, -key))
            else:
                removed[reason] += 1
            if len(passed) == filters.depth:
                break
        else:
            removed["min_score"] += int(
                filters.min_score is not None
                and filters.min_score == least > 0
                and len(ahead) < others
            )
        listed = passed[filters.range_min : filters.range_max]
        removed["range"] += len(passed) - len(listed)
        kept += len(listed)
        for rank, (j, score) in enumerate(listed):
            indices[i, rank], scores[i, rank] = j, score
    return indices, scores, kept, removed


def _score(filters: MiningOptions, values) -> float:
    factors = [max(float(value), 0.0) for value in values]
    if len(factors) == 1 or filters.image_weight == 0.5:
        return math.prod(factors)
    return factors[0] ** (2 * filters.image_weight) * factors[1] ** (2 - 2 * filters.image_weight)


def _reason(filters: MiningOptions, sides, values, score, related, cross, i, j) -> str | None:
    if related:
        return "known_positive"
    if max(values) > filters.duplicate_threshold:
        return "duplicate_threshold"
    if filters.method != "cross-modal" and min(values) < filters.similarity_floor:
        return "similarity_floor"
    for side, value in zip(sides, values, strict=True):
        at_most, at_least = (
            getattr(filters, f"max_{side}_score"),
            getattr(filters, f"min_{side}_score"),
        )
        if at_most is not None and value > at_most:
            return f"max_{side}_score"
        if at_least is not None and value < at_least:
            return f"min_{side}_score"
    if filters.max_score is not None and score > filters.max_score:
        return "max_score"
    if cross is not None:
        for value in (cross[i, j], cross[j, i]):
            if (
                filters.absolute_margin is not None
                and value > cross[i, i] - filters.absolute_margin
            ):
                return "margin"
            if (
                filters.relative_margin is not None
                and value > (1 - filters.relative_margin) * cross[i, i]
            ):
                return "margin"
    return None
