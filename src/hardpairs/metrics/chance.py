"""What a model that guesses would score: retrieval metrics of a random order, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardpairs.metrics.retrieval import chance_of_none, expected_reciprocal


def chance_metrics(
    gallery: int, positives: np.ndarray, prefix: str, *, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Expectations over a uniformly random order of the gallery, of the best positive's rank; fractions.

    With one positive each, R@K = min(K, G) / G and MRR = H_G / G, where H_G = 1 + 1/2 + ... + 1/G: the baseline that MiniCLIP prints.

    Args:
        gallery: G, items that are ranked.
        positives: (Q,) how many of them are right for each query; queries without any are left out, as ``summarise`` leaves them out.

    Raises:
        ValueError: no query has a positive, or one has more than there are items.

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
