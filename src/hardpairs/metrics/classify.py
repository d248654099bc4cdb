"""Classes from embeddings: zero-shot by the classes' texts, and a linear probe."""

from __future__ import annotations

import numpy as np

STRENGTHS = tuple(10.0**exponent for exponent in range(-3, 5))
"""Inverse regularisation strengths (scikit-learn's C) that are tried; on unit rows large ones are often best."""


def accuracy(
    scores: np.ndarray, labels: np.ndarray, ks: tuple[int, ...] = (1, 5)
) -> dict[str, float]:
    """Top-k accuracy, and the mean over classes of top-1. Equal scores count against the model.

    Args:
        scores: (N, C), higher is better. labels: (N,) columns of ``scores``.

    Raises:
        ValueError: NaN scores, or a label that is no column.
    """
    if np.isnan(scores).any():
        raise ValueError("scores are not numbers")
    if len(labels) and not 0 <= labels.min() <= labels.max() < scores.shape[1]:
        raise ValueError("a label is no column of the scores")
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    rank = (scores >= own).sum(axis=1)
    found = {f"top-{k}": float((rank <= k).mean()) for k in ks if k < scores.shape[1] or k == 1}
    found["mean_class_top-1"] = float(
        np.mean([(rank[labels == c] <= 1).mean() for c in np.unique(labels)])
    )
    return found


def linear_probe(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
) -> dict[str, float]:
    """Logistic regression on frozen embeddings (scikit-learn, L2), its strength chosen on the validation rows, fitted again on both.

    Args:
        train, validation, test: embeddings (n, D) and labels (n,) integers; labels of the others that train lacks are always wrong.
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
    """(N,) bool: rows held out for validation, about this share of each class; a class of one row keeps it."""
    rng, held = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        held[rows[: min(len(rows) - 1, max(1, round(share * len(rows))))]] = True
    return held
