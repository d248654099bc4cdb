"""The threshold and the image's weight that agree best with some labels, and what they give on others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from hardpairs.core.errors import bad_input, mismatch, non_finite, usage
from hardpairs.core.vectors import rows_without_direction, unit_rows
from hardpairs.data.embeddings import Embeddings
from hardpairs.data.samples import Samples
from hardpairs.metrics.clustering import compare_clusters
from hardpairs.metrics.linkage import Cuts, Tree, all_cuts, single_linkage
from hardpairs.metrics.pooling import best_weight, pooled
from hardpairs.models.head import EmbeddingHead, embed_with

COLLAPSED = 0.999
"""Mean cosine between rows above which a model tells hardly any of them apart."""


@dataclass(frozen=True)
class Rows:
    """What is linked.

    Attributes:
        image, text: (M, D) rows. numbers: (M,) dataset rows. keys: their names.
        labels: (M,) int64 from 0, -1 where there is none.
        joint: (M, E) what a head makes of both sides; ``None``: they are pooled by weight.
    """

    image: np.ndarray
    text: np.ndarray
    numbers: np.ndarray
    keys: list[str]
    labels: np.ndarray
    joint: np.ndarray | None = None

    @classmethod
    def of(
        cls, embeddings: Embeddings, samples: Samples | None, head: EmbeddingHead | None = None
    ) -> Rows:
        numbers = np.asarray(embeddings.rows)
        if not len(numbers):
            raise bad_input("no embeddings: there is nothing to link")
        labels = (
            np.full(len(numbers), -1, np.int64) if samples is None else row_labels(samples, numbers)
        )
        keys = (
            [samples.keys[row] for row in numbers]
            if samples is not None
            else [str(row) for row in numbers]
        )
        image, text = (
            _checked_unit_rows(np.asarray(side[:], np.float32), numbers)
            for side in (embeddings.image, embeddings.text)
        )
        if head is not None and (
            image.shape[1] != head.options["width"] or image.shape != text.shape
        ):
            raise mismatch(
                f"the head is about rows of {head.options['width']} numbers, these have {image.shape[1]} and {text.shape[1]}"
            )
        return cls(
            image,
            text,
            numbers,
            keys,
            labels,
            None if head is None else embed_with(head, image, text),
        )

    def pooled(self, image_weight: float) -> np.ndarray:
        """(M, D) rows to link by: a head's, else by weight; 0 or 1 takes one side, which may then be of any width."""
        if self.joint is not None:
            return self.joint
        if image_weight in (0.0, 1.0):
            return self.image if image_weight else self.text
        if self.image.shape != self.text.shape:
            raise usage(
                f"image and text embeddings are of different spaces ({self.image.shape[1]} and {self.text.shape[1]} numbers)",
                fix="--im-wt 1 or --im-wt 0, or embed with one CLIP model",
            )
        return pooled(self.image, self.text, image_weight)


def mean_cosine(unit: np.ndarray) -> float:
    """Of all pairs of different rows, from the length of the sum of (N, D) unit rows; 0 for a single one."""
    count, total = len(unit), unit.sum(axis=0, dtype=np.float64)
    return float((total @ total - count) / (count * (count - 1))) if count > 1 else 0.0


def row_labels(samples: Samples, rows: np.ndarray) -> np.ndarray:
    """(M,) int64 from 0 for rows of a dataset, equal where their labels are; -1 without a label."""
    labels, known = np.full(len(rows), -1, np.int64), samples.labelled[rows]
    labels[known] = np.unique(samples.groups[rows][known], return_inverse=True)[1]
    return labels


def _checked_unit_rows(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    bad = numbers[rows_without_direction(rows)]
    if len(bad):
        raise non_finite(
            f"{len(bad)} embeddings are zero or not finite",
            where=f"rows {bad[:10].tolist()}",
            fix="embed again without these rows",
        )
    return unit_rows(rows)


@dataclass(frozen=True)
class Choice:
    """A tree and where it is cut.

    Attributes:
        plateau: thresholds (from, to) that give the best ARI on the validation labels. cuts: what every cut gives there.
        tried: validation ARI by image weight, where several were tried. surface: and every cut of each.
    """

    tree: Tree
    image_weight: float
    threshold: float
    validation_ari: float
    plateau: tuple[float, float] | None = None
    cuts: Cuts | None = None
    tried: dict[float, float] = field(default_factory=dict)
    surface: dict[float, Cuts] = field(default_factory=dict)


def best_of_weights(rows: Rows, validation: np.ndarray) -> Choice:
    """The choice of the image's weight that gives the best cut, with what the others give."""
    choices: dict[float, Choice] = {}

    def ari(weight: float) -> float:
        choices[weight] = choose(rows, validation, weight, None)
        return choices[weight].validation_ari

    weight, tried = best_weight(ari)
    surface = {weight: choices[weight].cuts for weight in tried}
    return replace(
        choices[weight],
        tried=tried,
        surface={weight: cuts for weight, cuts in surface.items() if cuts is not None},
    )


def ari_at(cuts: Cuts, thresholds: np.ndarray) -> np.ndarray:
    """ARI of the cut that each threshold makes: (T,)."""
    return cuts.ari[np.searchsorted(cuts.thresholds, thresholds, side="right") - 1]


def split_by_label(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(validation, test): the labels with those of the other part, and of unlabelled rows, as -1; no label is in both."""
    names = np.unique(labels[labels >= 0])
    order = np.random.default_rng(seed).permutation(names)
    chosen = order[: round(share * len(names))]
    inside = np.isin(labels, chosen)
    return np.where(inside, labels, -1), np.where(inside, -1, labels)


def choose(
    rows: Rows, validation: np.ndarray, image_weight: float, threshold: float | None
) -> Choice:
    """Links all rows, and cuts where the validation labels say, or at ``threshold``."""
    tree = single_linkage(rows.pooled(image_weight))
    if threshold is not None and not (validation >= 0).any():
        return Choice(tree, image_weight, threshold, 0.0)
    cuts = all_cuts(tree, validation)
    if threshold is None:
        best, low, high = cuts.best()
        return Choice(tree, image_weight, best, float(cuts.ari.max()), (low, high), cuts)
    at = int(np.searchsorted(cuts.thresholds, threshold, side="right")) - 1
    return Choice(tree, image_weight, threshold, float(cuts.ari[max(at, 0)]), None, cuts)


def score_of(rows: Rows, labels: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Agreement on the rows that ``labels`` names; without any, the sizes of the clusters alone."""
    known = labels >= 0
    return (
        compare_clusters(labels[known], found[known])
        if known.any()
        else compare_clusters(labels, found)
    )


def others(
    rows: Rows, choice: Choice, validation: np.ndarray, test: np.ndarray
) -> dict[str, dict[str, float]]:
    """scikit-learn's other clusterings of the same rows, each tuned on the validation labels: test scores by name.

    They hold a distance for each pair of rows (8 bytes), so they are for some ten thousand rows.
    """
    from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering

    points = rows.pooled(choice.image_weight).astype(np.float64)
    distances = np.clip(1 - points @ points.T, 0, 2)
    np.fill_diagonal(distances, 0)
    grid = np.linspace(0.02, 0.8, 40)
    makers: dict[str, list[Callable[[], object]]] = {
        "dbscan": [
            lambda t=t: DBSCAN(eps=t, min_samples=1, metric="precomputed")
            for t in [choice.threshold]
        ],
        "average_linkage": [
            lambda t=t: AgglomerativeClustering(
                None, metric="precomputed", linkage="average", distance_threshold=t
            )
            for t in grid
        ],
        "hdbscan": [
            lambda n=n: HDBSCAN(min_cluster_size=n, metric="precomputed", copy=True)
            for n in (2, 3, 5)
        ],
    }
    scores = {}
    for name, tries in makers.items():
        found = [_alone(make().fit_predict(distances)) for make in tries]
        best = max(found, key=lambda clusters: score_of(rows, validation, clusters).get("ari", 0.0))
        scores[name] = score_of(rows, test, best)
    return scores


def _alone(clusters: np.ndarray) -> np.ndarray:
    """Noise (-1) as clusters of one row each."""
    noise = clusters < 0
    return np.where(noise, clusters.max(initial=-1) + 1 + np.cumsum(noise), clusters)
