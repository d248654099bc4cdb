"""The page of linked rows: every cut, the largest clusters, and the pairs nearest the threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardpairs.data.samples import Samples
from hardpairs.linking.clusters import LinkResult
from hardpairs.linking.cuts import ChosenCut
from hardpairs.linking.rows import LinkRows
from hardpairs.metrics.pooling import GRID
from hardpairs.pages.album import Album, ShownImage
from hardpairs.pages.charts import Chart, line_chart
from hardpairs.pages.numbers import count_text

CLUSTERS, MEMBERS, EDGES, THRESHOLDS = 40, 24, 20, 48
"""Numbers of clusters, of images of each, of merges and of columns of the surface on the page."""
SCORES = {
    "ari": "adjusted Rand index",
    "nmi": "normalized mutual information",
    "ami": "adjusted mutual information",
    "pair_precision": "precision of pairs",
    "pair_recall": "recall of pairs",
    "pair_f1": "F1 of pairs",
}


@dataclass(frozen=True)
class DrawnCluster:
    """A cluster on the page.

    Attributes:
        size: Number of its rows.
        images: The members that are drawn.
        hidden: Number of members that are not drawn.
        labels: How many different labels its rows have; empty without labels.
    """

    size: int
    images: list[ShownImage]
    hidden: int
    labels: str


@dataclass(frozen=True)
class DrawnEdge:
    """A merge near the threshold; ``verdict`` is empty where labels do not say what is right."""

    left: ShownImage
    right: ShownImage
    distance: str
    made: bool
    verdict: str


@dataclass(frozen=True)
class Surface:
    """ARI by image weight (rows, largest first) and threshold (columns).

    Attributes:
        rows: Weight, and of each cell the percentage of the best ARI and its description.
        ends: The first and the last threshold.
    """

    rows: list[tuple[str, list[tuple[int, str]]]]
    ends: tuple[str, str]


@dataclass(frozen=True)
class LinkPage:
    """Everything that the template reads."""

    title: str
    sentences: list[str]
    scores: list[tuple[str, str, str]]
    charts: list[Chart]
    surface: Surface | None
    clusters: list[DrawnCluster]
    edges: list[DrawnEdge]
    command: str


def link_page(result: LinkResult, record: Mapping[str, Any], samples: Samples) -> LinkPage:
    """Build the page.

    Args:
        result: The clusters.
        record: The numbers of linkage.json.
        samples: The data set with the images.
    """
    rows, choice, clusters = result.rows, result.choice, result.clusters
    album = Album(samples)
    sizes = np.bincount(clusters)
    largest = np.argsort(-sizes, kind="stable")[:CLUSTERS]
    return LinkPage(
        title="Linked",
        sentences=_sentences(rows, choice, sizes),
        scores=_scores(record["test"], record["all"]),
        charts=_charts(choice),
        surface=_surface(choice),
        clusters=[
            _cluster(rows, np.flatnonzero(clusters == number), album)
            for number in largest
            if sizes[number] > 1
        ],
        edges=_edges(rows, choice, album),
        command=record["command"],
    )


def _sentences(rows: LinkRows, choice: ChosenCut, sizes: np.ndarray) -> list[str]:
    by = (
        f"image weight {choice.image_weight:.2f}"
        if rows.joint is None
        else "of the output of the checkpoint's head"
    )
    sentences = [
        f"{count_text(int(sizes.sum()))} rows are in {count_text(len(sizes))} clusters; "
        f"{count_text(int((sizes > 1).sum()))} of them have more than one row, "
        f"the largest {count_text(int(sizes.max()))}.",
        f"Rows nearer than {choice.threshold:.3f} (cosine distance; {by}) are linked.",
    ]
    if choice.plateau:
        low, high = choice.plateau
        sentences.append(
            f"Any threshold from {low:.3f} to {high:.3f} does as well on the labels "
            "it was chosen by."
        )
    return sentences


def _scores(test: Mapping[str, float], whole: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Return (score, value on the test labels, value on all labels)."""
    return [
        (name, f"{test[key]:.3f}", f"{whole[key]:.3f}")
        for key, name in SCORES.items()
        if key in test and key in whole
    ]


def _charts(choice: ChosenCut) -> list[Chart]:
    lines = []
    if (cuts := choice.cuts) is not None:
        named = (
            ("ARI", cuts.ari),
            ("precision of pairs", cuts.precision),
            ("recall of pairs", cuts.recall),
        )
        lines = [
            (f"{name} at every cut", (color, name, cuts.thresholds, values), "threshold")
            for color, (name, values) in enumerate(named)
        ]
    if choice.tried:
        weights, values = np.array(list(choice.tried)), np.array(list(choice.tried.values()))
        lines.append(("Best ARI by image weight", (3, "ARI", weights, values), "image weight"))
    charts = [line_chart(title, [line], x_label=x, whole=False) for title, line, x in lines]
    return [chart for chart in charts if chart is not None]


def _surface(choice: ChosenCut) -> Surface | None:
    """Return the surface up to where the ARI of every weight has fallen to a tenth of the best."""
    best = max((float(cuts.ari.max()) for cuts in choice.surface.values()), default=0.0)
    if best <= 0:
        return None
    last = max(
        float(cuts.thresholds[cuts.ari > best / 10].max(initial=0.0))
        for cuts in choice.surface.values()
    )
    thresholds = np.linspace(0, last, THRESHOLDS)
    rows = []
    for weight in sorted(set(choice.surface) & {*GRID, choice.image_weight}, reverse=True):
        values = choice.surface[weight].ari_at(thresholds)
        cells = [
            (
                max(0, round(100 * ari / best)),
                f"weight {weight:.2f}, threshold {threshold:.3f}: ARI {ari:.3f}",
            )
            for threshold, ari in zip(thresholds, values, strict=True)
        ]
        rows.append((f"{weight:.2f}", cells))
    return Surface(rows, ("0", f"{last:.2f}"))


def _cluster(rows: LinkRows, members: np.ndarray, album: Album) -> DrawnCluster:
    labels = rows.labels[members]
    different = len(np.unique(labels[labels >= 0]))
    text = {0: "", 1: "one label"}.get(different, f"{different} labels")
    images = [album.image(rows.numbers[member]) for member in members[:MEMBERS]]
    return DrawnCluster(len(members), images, max(0, len(members) - MEMBERS), text)


def _edges(rows: LinkRows, choice: ChosenCut, album: Album) -> list[DrawnEdge]:
    tree = choice.tree
    nearest = np.argsort(np.abs(tree.heights - choice.threshold), kind="stable")[:EDGES]
    edges = []
    for edge in np.sort(nearest):
        ends = int(tree.left[edge]), int(tree.right[edge])
        a, b = rows.labels[list(ends)]
        made = bool(tree.heights[edge] <= choice.threshold)
        verdict = "" if a < 0 or b < 0 else "right" if (a == b) == made else "wrong"
        left, right = (album.image(rows.numbers[end]) for end in ends)
        edges.append(DrawnEdge(left, right, f"{tree.heights[edge]:.3f}", made, verdict))
    return edges
