"""Clusters of near duplicates: the rows of the best checkpoint, linked and cut by their labels."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import write_csv, write_json, write_text
from hardpairs.core.errors import bad_input, usage
from hardpairs.linking.cuts import (
    PROTOCOLS,
    ChosenCut,
    agreement,
    choose_cut,
    choose_weight_and_cut,
    other_methods,
    part_agreement,
    part_to_link,
    split_by_label,
)
from hardpairs.linking.rows import LinkRows, LinkSource, mean_cosine
from hardpairs.metrics.linkage import Cuts, single_linkage

COLLAPSED = 0.999
"""Mean cosine between rows above which a model hardly tells them apart."""


@dataclass(frozen=True)
class CutOptions:
    """Options for choosing the cut.

    Attributes:
        image_weight: From 0 (texts alone) to 1 (images alone); ``None``: that of the checkpoint's
            pooling head, else 0.5.
        search_weight: Whether the labels choose the image weight, too.
        threshold: Cosine distance to cut at, from 0 to 2; ``None``: the labels choose it.
        validation_share: Fraction of the labels that choose, between 0 and 1.
        seed: Seed of the split of the labels.
        compare: Whether other clusterings are evaluated on the same labels.
        protocol: How clusters are compared with labels, one of ``cuts.PROTOCOLS``.
    """

    image_weight: float | None = None
    search_weight: bool = False
    threshold: float | None = None
    validation_share: float = 0.4
    seed: int = 42
    compare: bool = False
    protocol: str = "parts"

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise usage(f"`protocol` must be {' or '.join(PROTOCOLS)}, not {self.protocol!r}")
        if self.image_weight is not None and not 0 <= self.image_weight <= 1:
            raise usage(f"`image_weight` must be in [0, 1], not {self.image_weight}")
        if not 0 < self.validation_share < 1:
            raise usage(f"`validation_share` must be between 0 and 1, not {self.validation_share}")
        if self.threshold is not None and not 0 <= self.threshold <= 2:
            raise usage(f"`threshold` is a cosine distance from 0 to 2, not {self.threshold}")
        if self.threshold is not None and self.search_weight:
            raise usage(
                "`threshold` belongs to one image weight, and `search_weight` tries several",
                fix="leave `search_weight` out",
            )


@dataclass(frozen=True)
class LinkResult:
    """The clusters of one checkpoint, or of a folder of embeddings.

    Attributes:
        rows: The rows that are linked.
        choice: The tree and its cut.
        clusters: (M,) int64.
        numbers: Threshold, weight, agreement with the labels, by name.
    """

    rows: LinkRows
    choice: ChosenCut
    clusters: np.ndarray
    numbers: dict[str, Any]


def link_clusters(
    source: LinkSource, options: CutOptions, pretrained: str | None
) -> tuple[LinkResult, dict[str, Any]]:
    """Link the rows by each checkpoint, and return the result of the best one.

    The validation labels choose among checkpoints; the agreement that is reported of each comes
    from labels that it was not chosen by.

    Args:
        source: Where the rows come from.
        options: Options for choosing the cut.
        pretrained: Weights of the model, or a glob of several; ``None`` for stored embeddings.

    Returns:
        The result, and the record of it that ``linkage.json`` holds.

    Raises:
        UserError: Exit 2 or 3, no checkpoint matches, or the labels cannot choose.
    """
    checkpoints = _checkpoints(pretrained)
    if len(checkpoints) > 1 and source.samples is not None and not source.samples.labelled.any():
        raise usage(
            "without labels nothing says which checkpoint is good",
            where=pretrained or "",
            fix="a column of labels, or one checkpoint",
        )
    best, chosen, tried = None, None, {}
    for checkpoint in checkpoints:
        result = link_checkpoint(source, options, checkpoint)
        if checkpoint:
            names = ("validation_ari", "threshold", "image_weight", "test")
            tried[checkpoint] = {name: result.numbers[name] for name in names}
        if best is None or result.choice.validation_ari > best.choice.validation_ari:
            best, chosen = result, checkpoint
    assert best is not None
    if len(checkpoints) > 1:
        print(_table(tried, chosen), file=sys.stderr)
    record = {**best.numbers, "checkpoint": chosen, "checkpoints": tried}
    if options.compare:
        labels = split_by_label(best.rows.labels, options.validation_share, options.seed)
        record["others"] = other_methods(best.rows, best.choice, *labels, options.protocol)
    return best, record


def link_checkpoint(source: LinkSource, options: CutOptions, checkpoint: str | None) -> LinkResult:
    """Link the rows of one checkpoint, or of stored embeddings.

    Args:
        source: Where the rows come from.
        options: Options for choosing the cut.
        checkpoint: Weights of the model; ``None`` for stored embeddings.

    Raises:
        UserError: Exit 2, the weight of a head's output is to be searched; exit 3, there is one
            row, or too few labels.
    """
    head = source.load_head(checkpoint)
    if head is not None and options.search_weight:
        raise usage(
            "a head has weighed image and text already",
            where=source.head or checkpoint or "",
            fix="`pooling` mean, or leave `search_weight` out",
        )
    rows = source.rows(checkpoint, head)
    if len(rows.numbers) < 2:
        raise bad_input(
            "one embedding: there is nothing to link it to",
            where=source.embeddings or source.data,
            fix="a `reference` list",
        )
    validation, test = split_by_label(rows.labels, options.validation_share, options.seed)
    chooser, chooser_labels = part_to_link(rows, validation, options.protocol)
    choice = _choose(source, options, checkpoint, chooser, chooser_labels)
    if chooser is not rows:
        choice = replace(choice, tree=single_linkage(rows.pooled(choice.image_weight)))
    cosine = mean_cosine(rows.pooled(choice.image_weight))
    if cosine > COLLAPSED:
        print(
            f"warning: rows have a mean cosine of {cosine:.5f}: "
            "the model gives almost the same for all of them",
            file=sys.stderr,
        )
    clusters = choice.clusters
    numbers = {
        "threshold": choice.threshold,
        "plateau": choice.plateau,
        "image_weight": choice.image_weight if rows.joint is None else "head",
        "protocol": options.protocol,
        "validation_ari": choice.validation_ari,
        "test": part_agreement(rows, test, choice, options.protocol),
        "all": agreement(rows.labels, clusters),
        "weights_tried": {f"{weight:.4f}": ari for weight, ari in choice.tried.items()},
    }
    return LinkResult(rows, choice, clusters, numbers)


def _choose(
    source: LinkSource,
    options: CutOptions,
    checkpoint: str | None,
    rows: LinkRows,
    validation: np.ndarray,
) -> ChosenCut:
    counts = np.unique(validation[validation >= 0], return_counts=True)[1]
    if options.threshold is None and (len(counts) < 2 or counts.max() < 2):
        raise bad_input(
            f"{len(counts)} labels of {counts.sum()} rows to choose a threshold by: "
            "it takes two, one of them of two rows",
            where=source.data or source.embeddings or "",
            fix="a column of labels, more labels (`validation_share`), or `threshold`",
        )
    if options.search_weight:
        return choose_weight_and_cut(rows, validation)
    weight = options.image_weight
    weight = source.image_weight(checkpoint) if weight is None else weight
    return choose_cut(rows, validation, weight, options.threshold)


def _checkpoints(pattern: str | None) -> list[str | None]:
    if pattern is None or os.path.exists(pattern) or not any(sign in pattern for sign in "*?["):
        return [pattern]
    paths = sorted(glob(pattern))
    if not paths:
        raise usage("no checkpoint matches", where=pattern)
    return list(paths)


def _table(tried: Mapping[str, Mapping[str, Any]], chosen: str | None) -> str:
    """Return a table of the checkpoints."""
    lines = [
        "| checkpoint | validation ARI | test ARI | threshold | image weight | |",
        "|---|---|---|---|---|---|",
    ]
    for name, numbers in tried.items():
        weight = numbers["image_weight"]
        cells = [
            name,
            f"{numbers['validation_ari']:.4f}",
            f"{numbers['test'].get('ari', float('nan')):.4f}",
            f"{numbers['threshold']:.3f}",
            weight if isinstance(weight, str) else f"{weight:.2f}",
            "best by validation" if name == chosen else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_clusters(out: Path, result: LinkResult, record: Mapping[str, Any]) -> None:
    """Write clusters.csv, linkage.json, and where there are labels cuts.csv and surface.csv.

    Args:
        out: The folder.
        result: The clusters.
        record: What linkage.json holds.
    """
    rows, choice = result.rows, result.choice
    members = zip(rows.numbers.tolist(), rows.keys, result.clusters.tolist(), strict=True)
    write_csv(out / "clusters.csv", ("row", "key", "cluster"), members)
    if choice.surface:
        write_text(out / "surface.csv", _surface_text(choice.surface))
    if choice.cuts is not None:
        names = ("thresholds", "clusters", "ari", "precision", "recall")
        columns = [getattr(choice.cuts, name).astype(np.float64) for name in names]
        lines = [",".join(f"{value:.9g}" for value in cut) for cut in np.stack(columns, axis=1)]
        write_text(out / "cuts.csv", "\n".join([",".join(names), *lines]) + "\n")
    write_json(out / "linkage.json", record)


def _surface_text(surface: Mapping[float, Cuts]) -> str:
    lines = [
        f"{weight:.4f},{threshold:.9g},{ari:.9g}"
        for weight, cuts in surface.items()
        for threshold, ari in zip(cuts.thresholds, cuts.ari, strict=True)
    ]
    return "\n".join(["image_weight,threshold,ari", *lines]) + "\n"
