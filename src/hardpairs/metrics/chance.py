"""The scores of a model that guesses: retrieval metrics of a random order, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardpairs.metrics.retrieval import chance_of_none, expected_reciprocal


def chance_metrics(
    gallery: int, positives: np.ndarray, prefix: str, *, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Return the expected metrics of a uniformly random order of the gallery.

    The rank is that of the best positive. With one positive each, R@K = min(K, G) / G and MRR =
    H_G / G, where H_G = 1 + 1/2 + ... + 1/G.

    Args:
        gallery: G, the number of items that are ranked.
        positives: (Q,) number of correct items of each query. Queries without any are left out, as
            ``summarize`` does.
        prefix: Direction in front of the metric names, such as ``text_to_image``.
        ks: The K of each R@K.

    Returns:
        Fractions, and ranks from 1, by metric name.

    Raises:
        ValueError: No query has a positive, or a query has more than there are items.

    Example:
        >>> round(chance_metrics(32, np.ones(64, int), "text_to_image")["text_to_image_MRR"], 6)
        0.126828
    """
    counts, queries = np.unique(positives[positives > 0], return_counts=True)
    if not len(counts) or counts[-1] > gallery:
        raise ValueError(f"from 1 to {gallery} positives are possible, not {np.unique(positives)}")

    def mean(values: Sequence[float]) -> float:
        return float(np.average(values, weights=queries))

    pairs = [(gallery - int(count), int(count)) for count in counts]
    metrics = {
        f"{prefix}_R@{k}": mean([1 - chance_of_none(k, wrong, right) for wrong, right in pairs])
        for k in ks
    }
    metrics[f"{prefix}_mean_rank"] = mean([(gallery + 1) / (right + 1) for _, right in pairs])
    metrics[f"{prefix}_MRR"] = mean(
        [expected_reciprocal(0, wrong, right) for wrong, right in pairs]
    )
    return metrics
