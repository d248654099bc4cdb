"""What a model finds on the test rows: per query, so that losses can be compared query by query."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score

from hardpairs.data.samples import Samples
from hardpairs.embedding.embed import embed
from hardpairs.metrics.gallery import SCORE_WEIGHTS, per_query, per_row
from hardpairs.metrics.linkage import best_threshold, single_linkage
from hardpairs.metrics.neighbors import nearest
from hardpairs.models.encoders import open_encoders
from hardpairs.models.head import changes_space, embed_with, load_head

METRICS = ("top-1", "top-5", "top-10", "mAP", "R-precision")
SHOWN = 5
"""Nearest pictures that are kept of each query."""


@dataclass(frozen=True)
class Measured:
    """What one model finds.

    Attributes:
        queries: (Q,) each of ``METRICS``, of the queries whose label the gallery has, in order.
        rows: (Q,) their rows in the query data. found: (Q, 5) gallery rows, nearest first. right: (Q, 5) bool.
        ari: adjusted Rand index of single linkage on the gallery, cut where the validation rows say; NaN where no label repeats.
    """

    queries: dict[str, np.ndarray]
    rows: np.ndarray
    found: np.ndarray
    right: np.ndarray
    ari: float

    def numbers(self) -> dict[str, float]:
        """Means over queries, the challenge's score, ARI."""
        means = {name: float(values.mean()) for name, values in self.queries.items()}
        return {
            **means,
            "score": sum(weight * means[f"top-{k}"] for k, weight in SCORE_WEIGHTS.items()),
            "ari": self.ari,
        }

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez_compressed(
            part, rows=self.rows, found=self.found, right=self.right, ari=self.ari, **self.queries
        )
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> Measured:
        with np.load(path) as stored:
            queries = {name: stored[name] for name in METRICS}
            return cls(
                queries, stored["rows"], stored["found"], stored["right"], float(stored["ari"])
            )


def measure(
    model: str,
    weights: str,
    validation: Samples,
    gallery: Samples,
    query: Samples | None,
    *,
    device: str = "cpu",
) -> Measured:
    """Embeds the parts with a checkpoint (by its head, where that has layers about pictures) and searches.

    Args:
        query: asks the gallery; ``None``: each gallery row asks the others.
    """
    captions = validation.captions
    encoders = open_encoders(model=model, pretrained=weights, device=device, captions=captions)
    head = load_head(weights) if os.path.isfile(weights) else None
    head = head if head is not None and head.kind == "image" and changes_space(head) else None

    def rows_of(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
        made = embed(samples, encoders, device=device)
        return (made.image if head is None else embed_with(head, made.image, made.image)), made.rows

    gallery_rows, gallery_numbers = rows_of(gallery)
    asked, numbers = (gallery_rows, gallery_numbers) if query is None else rows_of(query)
    labels = (gallery if query is None else query).groups[numbers]
    queries, indices = _search(
        asked, labels, gallery_rows, gallery.groups[gallery_numbers], alone=query is None
    )
    keep = queries.pop("asked")
    found = indices[keep]
    return Measured(
        {name: queries[name][keep] for name in METRICS},
        numbers[keep],
        gallery_numbers[found],
        gallery.groups[gallery_numbers][found] == labels[keep, None],
        _ari(rows_of(validation), validation, gallery_rows, gallery.groups[gallery_numbers]),
    )


def _search(
    asked: np.ndarray,
    labels: np.ndarray,
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    *,
    alone: bool,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Metrics by query, and the nearest gallery places; ``alone``: the queries are the gallery's rows, and none is its own answer."""
    if not alone:
        return per_query(asked @ gallery.T, labels, gallery_labels), nearest(asked, gallery, SHOWN)[
            0
        ]
    found = nearest(gallery, gallery, SHOWN + 1)[0]
    others = found != np.arange(len(found))[:, None]
    others[others.all(axis=1), -1] = False  # equal rows may push a row out of its own list
    return per_row(gallery, gallery_labels), found[others].reshape(len(found), -1)


def _ari(
    validation: tuple[np.ndarray, np.ndarray],
    samples: Samples,
    gallery: np.ndarray,
    labels: np.ndarray,
) -> float:
    rows, numbers = validation
    known = np.unique(samples.groups[numbers], return_inverse=True)[1]
    if len(np.unique(labels)) == len(labels) or len(np.unique(known)) == len(known):
        return float("nan")
    threshold = best_threshold(single_linkage(rows), known)[0]
    return float(adjusted_rand_score(labels, single_linkage(gallery).labels(threshold)))
