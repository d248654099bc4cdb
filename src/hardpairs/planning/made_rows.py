"""Made embeddings with neighbors: themes of topics of sub-topics, as real data has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

THEMES, TOPICS, PARTS = 40, 20, 10
ROWS_AT_ONCE = 8192


def themed_rows(count: int, widths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    """Return embeddings of pairs that belong to one of 40 x 20 x 10 sub-topics.

    The sub-topics have log-normal sizes, images and captions share them, and the components have a
    power-law spectrum.

    Args:
        count: N pairs.
        widths: Components of an embedding, for each modality.
        seed: Seed of everything.

    Returns:
        (N, D) float32 for each modality.
    """
    rng = np.random.default_rng(seed)
    weights = np.exp(
        rng.normal(size=(THEMES, 1, 1))
        + rng.normal(size=(THEMES, TOPICS, 1))
        + rng.normal(size=(THEMES, TOPICS, PARTS))
    )
    leaf = rng.choice(weights.size, count, p=(weights / weights.sum()).ravel())
    arrays = []
    for width in widths:
        spectrum = np.arange(1, width + 1) ** -0.35
        spectrum /= np.linalg.norm(spectrum)
        theme, topic, part = (
            rng.normal(size=(n, width)) * spectrum
            for n in (THEMES, THEMES * TOPICS, THEMES * TOPICS * PARTS)
        )
        rows = np.empty((count, width), np.float32)
        for start in range(0, count, ROWS_AT_ONCE):
            at = leaf[start : start + ROWS_AT_ONCE]
            noise = rng.normal(size=(len(at), width)) * spectrum
            rows[start : start + ROWS_AT_ONCE] = (
                0.55 * theme[at // (TOPICS * PARTS)]
                + 0.45 * topic[at // PARTS]
                + 0.4 * part[at]
                + 0.6 * noise
            )
        arrays.append(rows)
    return arrays
