"""The page of ``tools.link``: how good every cut is, the largest clusters as pictures, and the pairs that the threshold decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardpairs.data.samples import Samples
from hardpairs.linking.choose import Choice, Rows, ari_at
from hardpairs.metrics.pooling import GRID
from hardpairs.pages import numbers
from hardpairs.pages.album import Album, ShownImage
from hardpairs.pages.charts import Chart, line_chart

CLUSTERS, MEMBERS, EDGES, THRESHOLDS = 40, 24, 20, 48


@dataclass(frozen=True)
class DrawnCluster:
    """A cluster; ``hidden``: members that are not drawn. ``labels``: how many of its rows' labels differ, empty without labels."""

    size: int
    pictures: list[ShownImage]
    hidden: int
    labels: str


@dataclass(frozen=True)
class DrawnEdge:
    """A merge that the threshold decides; ``verdict`` where labels say whether it is right."""

    left: ShownImage
    right: ShownImage
    distance: str
    made: bool
    verdict: str


@dataclass(frozen=True)
class Surface:
    """ARI by image weight (rows, largest first) and threshold (columns): the share of the best, in percent, and what a reader is told."""

    rows: list[tuple[str, list[tuple[int, str]]]]
    ends: tuple[str, str]


@dataclass(frozen=True)
class LinkPage:
    """Everything the template reads."""

    title: str
    sentences: list[str]
    scores: list[tuple[str, str, str]]
    charts: list[Chart]
    surface: Surface | None
    clusters: list[DrawnCluster]
    edges: list[DrawnEdge]
    command: str


def link_page(
    rows: Rows, found: np.ndarray, choice: Choice, record: dict, samples: Samples
) -> LinkPage:
    album = Album(samples)
    sizes = np.bincount(found)
    several = int((sizes > 1).sum())
    sentences = [
        f"{numbers.count_text(len(found))} rows are in {numbers.count_text(len(sizes))} clusters; "
        f"{numbers.count_text(several)} of them have more than one row, the largest {numbers.count_text(int(sizes.max()))}.",
        f"Rows nearer than {choice.threshold:.3f} (cosine distance; {_by(rows, choice)}) are linked.",
    ]
    if choice.plateau:
        sentences.append(
            f"Any threshold from {choice.plateau[0]:.3f} to {choice.plateau[1]:.3f} does as well on the labels it was chosen by."
        )
    return LinkPage(
        title="Linked",
        sentences=sentences,
        scores=_scores(record),
        charts=_charts(choice),
        surface=_surface(choice),
        clusters=[
            _cluster(rows, found, album, number)
            for number in np.argsort(-sizes, kind="stable")[:CLUSTERS]
            if sizes[number] > 1
        ],
        edges=_edges(rows, choice, album),
        command=record["command"],
    )


def _by(rows: Rows, choice: Choice) -> str:
    return (
        f"image weight {choice.image_weight:.2f}"
        if rows.joint is None
        else "of what the checkpoint's head makes of picture and text"
    )


def _scores(record: dict) -> list[tuple[str, str, str]]:
    """(what, on the test labels, on all labels)."""
    test, whole = record["test"], record["all"]
    names = {
        "ari": "adjusted Rand index",
        "nmi": "normalised mutual information",
        "ami": "adjusted mutual information",
        "pair_precision": "precision of pairs",
        "pair_recall": "recall of pairs",
        "pair_f1": "F1 of pairs",
    }
    return [
        (name, f"{test[key]:.3f}", f"{whole[key]:.3f}")
        for key, name in names.items()
        if key in test and key in whole
    ]


def _charts(choice: Choice) -> list[Chart]:
    charts = []
    if choice.cuts is not None:
        cuts = choice.cuts
        lines = [
            (0, "ARI", cuts.ari),
            (1, "precision of pairs", cuts.precision),
            (2, "recall of pairs", cuts.recall),
        ]
        charts += [
            line_chart(
                f"{name} at every cut",
                [(colour, name, cuts.thresholds, values)],
                x_label="threshold",
                whole=False,
            )
            for colour, name, values in lines
        ]
    if choice.tried:
        weights, values = np.array(list(choice.tried)), np.array(list(choice.tried.values()))
        charts.append(
            line_chart(
                "Best ARI by image weight",
                [(3, "ARI", weights, values)],
                x_label="image weight",
                whole=False,
            )
        )
    return [chart for chart in charts if chart is not None]


def _surface(choice: Choice) -> Surface | None:
    """Up to where every weight's ARI has fallen to a tenth of the best."""
    if not choice.surface:
        return None
    best = max(float(cuts.ari.max()) for cuts in choice.surface.values())
    if best <= 0:
        return None
    last = max(
        float(cuts.thresholds[cuts.ari > best / 10].max())
        for cuts in choice.surface.values()
        if (cuts.ari > best / 10).any()
    )
    thresholds = np.linspace(0, last, THRESHOLDS)
    rows = []
    for weight in sorted(set(choice.surface) & {*GRID, choice.image_weight}, reverse=True):
        values = ari_at(choice.surface[weight], thresholds)
        cells = [
            (
                max(0, round(100 * ari / best)),
                f"weight {weight:.2f}, threshold {t:.3f}: ARI {ari:.3f}",
            )
            for t, ari in zip(thresholds, values, strict=True)
        ]
        rows.append((f"{weight:.2f}", cells))
    return Surface(rows, ("0", f"{last:.2f}"))


def _cluster(rows: Rows, found: np.ndarray, album: Album, number: int) -> DrawnCluster:
    members = np.flatnonzero(found == number)
    labels = rows.labels[members]
    known = len(np.unique(labels[labels >= 0]))
    text = "" if not (labels >= 0).any() else "one label" if known == 1 else f"{known} labels"
    pictures = [album.image(rows.numbers[member]) for member in members[:MEMBERS]]
    return DrawnCluster(len(members), pictures, max(0, len(members) - MEMBERS), text)


def _edges(rows: Rows, choice: Choice, album: Album) -> list[DrawnEdge]:
    tree = choice.tree
    nearest = np.argsort(np.abs(tree.heights - choice.threshold), kind="stable")[:EDGES]
    edges = []
    for edge in np.sort(nearest):
        left, right = int(tree.left[edge]), int(tree.right[edge])
        a, b = rows.labels[left], rows.labels[right]
        made = bool(tree.heights[edge] <= choice.threshold)
        verdict = "" if a < 0 or b < 0 else "right" if (a == b) == made else "wrong"
        pictures = [album.image(rows.numbers[place]) for place in (left, right)]
        edges.append(DrawnEdge(*pictures, f"{tree.heights[edge]:.3f}", made, verdict))
    return edges
