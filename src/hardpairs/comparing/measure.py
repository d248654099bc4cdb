"""Retrieval by one checkpoint on the test rows, by query, so that losses can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score

from hardpairs.core.atomic import atomic_open
from hardpairs.data.samples import Samples
from hardpairs.evaluating.gallery import embed_images, load_image_head
from hardpairs.metrics.gallery import SCORE_WEIGHTS, per_query, per_row
from hardpairs.metrics.linkage import best_threshold, single_linkage
from hardpairs.metrics.neighbors import nearest
from hardpairs.models.encoders import open_encoders

METRICS = ("top-1", "top-5", "top-10", "mAP", "R-precision")
SHOWN = 5
"""Nearest images to keep of each query."""


@dataclass(frozen=True)
class QueryResults:
    """Results of one model on the Q queries whose label the gallery has, in order.

    Attributes:
        queries: (Q,) float64 each, by name of ``METRICS``.
        rows: (Q,) int64 rows of the queries in their data set.
        nearest: (Q, 5) int64 rows of the gallery, nearest first.
        correct: (Q, 5) bool, whether they have the query's label.
        ari: ARI of single linkage on the gallery, cut where the validation rows say; NaN where no
            label repeats.
    """

    queries: dict[str, np.ndarray]
    rows: np.ndarray
    nearest: np.ndarray
    correct: np.ndarray
    ari: float

    def numbers(self) -> dict[str, float]:
        """Return means over queries, the challenge's score, and ARI."""
        means = {name: float(values.mean()) for name, values in self.queries.items()}
        score = sum(points * means[f"top-{k}"] for k, points in SCORE_WEIGHTS.items())
        return {**means, "score": score, "ari": self.ari}

    def save(self, path: Path) -> None:
        """Write the results to an npz file, atomically."""
        with atomic_open(path) as file:
            np.savez_compressed(
                file,
                rows=self.rows,
                found=self.nearest,
                right=self.correct,
                ari=self.ari,
                **self.queries,  # type: ignore[arg-type]
            )

    @classmethod
    def load(cls, path: Path) -> QueryResults:
        """Read what ``save`` wrote."""
        with np.load(path) as stored:
            queries = {name: stored[name] for name in METRICS}
            rows, found, correct = stored["rows"], stored["found"], stored["right"]
            return cls(queries, rows, found, correct, float(stored["ari"]))


def measure(
    model: str,
    weights: str,
    validation: Samples,
    gallery: Samples,
    query: Samples | None,
    *,
    device: str = "cpu",
) -> QueryResults:
    """Embed the parts by a checkpoint, with its head where that has layers for images, and search.

    Args:
        model: Name of an OpenCLIP model.
        weights: The checkpoint.
        validation: Rows that choose the threshold of single linkage.
        gallery: Rows that are searched.
        query: Rows that ask; ``None``: each gallery row asks the others.
        device: Device of the model.
    """
    captions = validation.captions
    encoders = open_encoders(model=model, pretrained=weights, device=device, captions=captions)
    head = load_image_head(weights)

    def rows_and_labels(samples: Samples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        made = embed_images(samples, encoders, head, device=device)
        return made.image, made.rows, samples.groups[made.rows]

    offered, gallery_rows, gallery_labels = rows_and_labels(gallery)
    if query is None:
        rows, labels = gallery_rows, gallery_labels
        queries, indices = per_row(offered, labels), _nearest_others(offered)
    else:
        asked, rows, labels = rows_and_labels(query)
        queries = per_query(asked @ offered.T, labels, gallery_labels)
        indices = nearest(asked, offered, SHOWN)[0]
    keep = queries["asked"]
    return QueryResults(
        queries={name: queries[name][keep] for name in METRICS},
        rows=rows[keep],
        nearest=gallery_rows[indices[keep]],
        correct=gallery_labels[indices[keep]] == labels[keep, None],
        ari=_ari(*rows_and_labels(validation)[::2], offered, gallery_labels),
    )


def _nearest_others(rows: np.ndarray) -> np.ndarray:
    """Return the nearest other rows of each row, (N, 5) int64."""
    indices = nearest(rows, rows, SHOWN + 1)[0]
    others = indices != np.arange(len(indices))[:, None]
    others[others.all(axis=1), -1] = False  # equal rows may push a row out of its own list
    return np.asarray(indices[others].reshape(len(indices), -1))


def _ari(
    rows: np.ndarray, labels: np.ndarray, gallery: np.ndarray, gallery_labels: np.ndarray
) -> float:
    """Return the ARI on the gallery, cut at the best threshold of other rows."""
    for own in (labels, gallery_labels):
        if len(np.unique(own)) == len(own):
            return float("nan")
    threshold = best_threshold(single_linkage(rows), np.unique(labels, return_inverse=True)[1])[0]
    return float(adjusted_rand_score(gallery_labels, single_linkage(gallery).labels(threshold)))
