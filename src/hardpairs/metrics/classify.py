"""Classification of embeddings: accuracy of scores, and a linear probe."""

from __future__ import annotations

import numpy as np

STRENGTHS = tuple(10.0**exponent for exponent in range(-3, 5))
"""Inverse regularization strengths (scikit-learn's C) to try; on unit rows large ones are often
best."""


def accuracy(
    scores: np.ndarray, labels: np.ndarray, ks: tuple[int, ...] = (1, 5)
) -> dict[str, float]:
    """Return top-k accuracy, and the mean over classes of top-1. Equal scores count as wrong.

    Args:
        scores: (N, C) float, higher is better.
        labels: (N,) int64, the correct column of each row.
        ks: The k of each ``top-k``; those of at least C are left out.

    Returns:
        Fractions, by metric name.

    Raises:
        ValueError: A score is NaN, or a label is not a column.
    """
    if np.isnan(scores).any():
        raise ValueError("scores are not numbers")
    if len(labels) and not 0 <= labels.min() <= labels.max() < scores.shape[1]:
        raise ValueError("a label is no column of the scores")
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    rank = (scores >= own).sum(axis=1)
    shares = {f"top-{k}": float((rank <= k).mean()) for k in ks if k < scores.shape[1] or k == 1}
    classes = [(rank[labels == label] <= 1).mean() for label in np.unique(labels)]
    return {**shares, "mean_class_top-1": float(np.mean(classes))}


def linear_probe(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
) -> dict[str, float]:
    """Fit logistic regression (scikit-learn, L2) to frozen embeddings, and return its accuracy.

    The strength is chosen on the validation rows; the model is then fitted to both sets.

    Args:
        train: Embeddings (n, D) and labels (n,) int64.
        validation: The same, of the rows that choose. A label that ``train`` lacks is always wrong.
        test: The same, of the rows that are reported.

    Returns:
        ``top-1``, ``validation_top-1`` (fractions) and ``strength``.
    """
    from sklearn.linear_model import LogisticRegression

    def fit(rows: np.ndarray, labels: np.ndarray, strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=2000).fit(rows, labels)

    tried = {strength: float(fit(*train, strength).score(*validation)) for strength in STRENGTHS}
    best = max(tried, key=lambda strength: tried[strength])
    both = tuple(np.concatenate(pair) for pair in zip(train, validation, strict=True))
    model = fit(both[0], both[1], best)
    return {"top-1": float(model.score(*test)), "validation_top-1": tried[best], "strength": best}


def hold_out(labels: np.ndarray, share: float = 0.2, seed: int = 0) -> np.ndarray:
    """Choose rows to hold out for validation.

    Args:
        labels: (N,) int64.
        share: Fraction of each class to hold out, about; a class of one row keeps it.
        seed: Seed of the choice.

    Returns:
        (N,) bool, true for the rows that are held out.
    """
    rng, held = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        held[rows[: min(len(rows) - 1, max(1, round(share * len(rows))))]] = True
    return held
