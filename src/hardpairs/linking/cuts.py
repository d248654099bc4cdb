"""The choice of a cut: the threshold and the image weight that agree best with some labels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hardpairs.linking.rows import LinkRows
from hardpairs.metrics.clustering import compare_clusters
from hardpairs.metrics.linkage import Cuts, Tree, all_cuts, single_linkage
from hardpairs.metrics.pooling import best_weight

PROTOCOLS = ("parts", "joint")
"""Ways to compare with labels: the validation rows and the test rows are linked apart, as CLIPPINGS
does, or all rows are linked in one tree, and only the comparison is restricted to a part."""


@dataclass(frozen=True)
class ChosenCut:
    """A tree and the threshold at which it is cut.

    Attributes:
        tree: The single-linkage tree of all rows.
        image_weight: The weight by which image and text were pooled.
        threshold: Cosine distance up to which rows are linked.
        validation_ari: ARI of the cut on the validation labels.
        plateau: Thresholds (from, to) that give the best ARI on the validation labels.
        cuts: Agreement with the validation labels at every cut.
        tried: Validation ARI by image weight, where several were tried.
        surface: All cuts by image weight, where several were tried.
    """

    tree: Tree
    image_weight: float
    threshold: float
    validation_ari: float
    plateau: tuple[float, float] | None = None
    cuts: Cuts | None = None
    tried: dict[float, float] = field(default_factory=dict)
    surface: dict[float, Cuts] = field(default_factory=dict)

    @property
    def clusters(self) -> np.ndarray:
        """(M,) int64 clusters of the rows."""
        return self.tree.labels(self.threshold)


def split_by_label(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split labels into a part that chooses and a part that is reported.

    Args:
        labels: (M,) int64, -1 without a label.
        share: Fraction of the different labels that goes to the validation part.
        seed: Seed of the split.

    Returns:
        Validation and test labels, (M,) int64 each, with those of the other part as -1. No label is
        in both.
    """
    names = np.unique(labels[labels >= 0])
    order = np.random.default_rng(seed).permutation(names)
    inside = np.isin(labels, order[: round(share * len(names))])
    return np.where(inside, labels, -1), np.where(inside, -1, labels)


def choose_cut(
    rows: LinkRows, validation: np.ndarray, image_weight: float, threshold: float | None
) -> ChosenCut:
    """Link all rows, and cut where the validation labels agree best, or at a threshold.

    Args:
        rows: M rows.
        validation: (M,) int64 labels, -1 where a row does not count.
        image_weight: From 0 (texts alone) to 1 (images alone).
        threshold: Cosine distance to cut at; ``None``: the best one.
    """
    tree = single_linkage(rows.pooled(image_weight))
    if threshold is not None and not (validation >= 0).any():
        return ChosenCut(tree, image_weight, threshold, 0.0)
    cuts = all_cuts(tree, validation)
    if threshold is not None:
        ari = float(cuts.ari_at(np.array([threshold]))[0])
        return ChosenCut(tree, image_weight, threshold, ari, cuts=cuts)
    best, low, high = cuts.best()
    return ChosenCut(tree, image_weight, best, float(cuts.ari.max()), (low, high), cuts)


def choose_weight_and_cut(rows: LinkRows, validation: np.ndarray) -> ChosenCut:
    """Return the best cut over all image weights, with the results of the weights that were tried.

    Args:
        rows: M rows.
        validation: (M,) int64 labels, -1 where a row does not count.
    """
    choices: dict[float, ChosenCut] = {}

    def ari(weight: float) -> float:
        choices[weight] = choose_cut(rows, validation, weight, None)
        return choices[weight].validation_ari

    weight, tried = best_weight(ari)
    surface = {w: cuts for w in tried if (cuts := choices[w].cuts) is not None}
    return replace(choices[weight], tried=tried, surface=surface)


def part_to_link(rows: LinkRows, labels: np.ndarray, protocol: str) -> tuple[LinkRows, np.ndarray]:
    """Return the rows that are linked to compare with some labels, and their labels.

    Args:
        rows: M rows.
        labels: (M,) int64 labels of the part, -1 for rows of the other one.
        protocol: One of ``PROTOCOLS``.
    """
    inside = labels >= 0
    if protocol == "joint" or not inside.any():
        return rows, labels
    return rows.where(inside), labels[inside]


def part_agreement(
    rows: LinkRows, labels: np.ndarray, choice: ChosenCut, protocol: str
) -> dict[str, float]:
    """Return how a cut agrees with the labels of a part.

    Args:
        rows: M rows, of which ``choice`` has the tree.
        labels: (M,) int64 labels of the part, -1 for rows of the other one.
        choice: The weight and the threshold.
        protocol: One of ``PROTOCOLS``.
    """
    part, part_labels = part_to_link(rows, labels, protocol)
    if part is rows or len(part.numbers) < 2:
        return agreement(labels, choice.clusters)
    tree = single_linkage(part.pooled(choice.image_weight))
    return agreement(part_labels, tree.labels(choice.threshold))


def agreement(labels: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Return ``compare_clusters`` of the rows with a label; without labels, sizes of all clusters.

    Args:
        labels: (M,) int64, -1 without a label.
        clusters: (M,) int64.
    """
    counted = labels >= 0 if (labels >= 0).any() else slice(None)
    return compare_clusters(labels[counted], clusters[counted])


def other_methods(
    rows: LinkRows,
    choice: ChosenCut,
    validation: np.ndarray,
    test: np.ndarray,
    protocol: str = "joint",
) -> dict[str, dict[str, float]]:
    """Evaluate scikit-learn's other clusterings, each tuned on the validation labels.

    They hold a distance for each pair of rows (8 bytes), and are for some ten thousand rows.

    Args:
        rows: M rows.
        choice: The cut whose image weight and threshold are used.
        validation: (M,) int64 labels that choose the settings.
        test: (M,) int64 labels that are reported.
        protocol: One of ``PROTOCOLS``.

    Returns:
        The agreement with the test labels, by name of the method.
    """
    from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering

    chosen_by, chooser_labels = part_to_link(rows, validation, protocol)
    reported, reported_labels = part_to_link(rows, test, protocol)
    near = _distances(chosen_by, choice.image_weight)
    far = near if reported is chosen_by else _distances(reported, choice.image_weight)

    estimators = {
        "dbscan": [DBSCAN(eps=choice.threshold, min_samples=1, metric="precomputed")],
        "average_linkage": [
            AgglomerativeClustering(
                None, metric="precomputed", linkage="average", distance_threshold=threshold
            )
            for threshold in np.linspace(0.02, 0.8, 40)
        ],
        "hdbscan": [
            HDBSCAN(min_cluster_size=size, metric="precomputed", copy=True) for size in (2, 3, 5)
        ],
    }
    scores = {}
    for name, tuned in estimators.items():
        tried = [_noise_alone(estimator.fit_predict(near)) for estimator in tuned]
        ari = [agreement(chooser_labels, clusters).get("ari", 0.0) for clusters in tried]
        best = int(np.argmax(ari))
        clusters = tried[best] if far is near else _noise_alone(tuned[best].fit_predict(far))
        scores[name] = agreement(reported_labels, clusters)
    return scores


def _distances(rows: LinkRows, image_weight: float) -> np.ndarray:
    """Return the (M, M) cosine distances."""
    points = rows.pooled(image_weight).astype(np.float64)
    distances = np.clip(1 - points @ points.T, 0, 2)
    np.fill_diagonal(distances, 0)
    return distances


def _noise_alone(clusters: np.ndarray) -> np.ndarray:
    """Return the clusters with each row of noise (-1) as a cluster of its own."""
    noise = clusters < 0
    return np.where(noise, clusters.max(initial=-1) + 1 + np.cumsum(noise), clusters)
