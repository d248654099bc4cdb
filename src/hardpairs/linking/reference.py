"""Links of each row to its nearest rows of a reference list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hardpairs.core.atomic import write_csv
from hardpairs.core.errors import mismatch, usage
from hardpairs.data.embeddings import open_embeddings
from hardpairs.data.samples import Samples
from hardpairs.linking.rows import (
    LinkRows,
    LinkSource,
    check_embedded_from,
    check_same_weights,
)
from hardpairs.metrics.neighbors import nearest, precision_at

COLUMNS = ("row", "key", "rank", "reference_row", "reference_key", "score")


def link_to_reference(
    source: LinkSource,
    checkpoint: str | None,
    reference: str,
    reference_samples: Samples | None,
    out: Path,
    *,
    image_weight: float | None = None,
    k: int = 1,
    reference_data: str = "",
) -> dict[str, float]:
    """Write OUT/links.csv: the ``k`` nearest reference rows of each row, best first.

    Args:
        source: Where the rows come from.
        checkpoint: Weights of the source's model; ``None`` for stored embeddings.
        reference: Folder of the reference embeddings.
        reference_samples: What they were made of: labels and names.
        out: Folder of links.csv.
        image_weight: From 0 to 1; ``None``: that of the checkpoint's pooling head, else 0.5.
        k: Links per row.
        reference_data: Name of the reference data, for messages.

    Returns:
        Precision at 1 to k where both sides have data; otherwise the numbers of rows.

    Raises:
        UserError: Exit 4, a list was embedded from other data or by other weights; exit 2, a side
            has no labels.
    """
    if image_weight is None:
        image_weight = source.image_weight(checkpoint)
    head = source.load_head(checkpoint)
    ours = source.rows(checkpoint, head)
    embeddings = open_embeddings(reference, verify=True)
    check_embedded_from(reference_samples, embeddings, reference_data, reference)
    ours_name = source.embeddings or checkpoint or ""
    check_same_weights(ours.weights, embeddings, ours_name=ours_name, theirs_name=reference)
    theirs = LinkRows.of(embeddings, reference_samples, head)
    queries, references = ours.pooled(image_weight), theirs.pooled(image_weight)
    if queries.shape[1] != references.shape[1]:
        raise mismatch(
            f"embeddings of {queries.shape[1]} and {references.shape[1]} numbers",
            where=f"{ours_name}, {reference}",
        )
    indices, scores = nearest(queries, references, k)
    write_csv(out / "links.csv", COLUMNS, _links(ours, theirs, indices, scores))
    if source.samples is None or reference_samples is None:
        return {"rows": len(queries), "references": len(references)}
    return _precision(source.samples, reference_samples, ours, theirs, indices)


def _links(
    ours: LinkRows, theirs: LinkRows, indices: np.ndarray, scores: np.ndarray
) -> Iterator[tuple[object, ...]]:
    for row, key, own, values in zip(ours.numbers, ours.keys, indices, scores, strict=True):
        for rank, (other, score) in enumerate(zip(own, values, strict=True), start=1):
            yield row, key, rank, theirs.numbers[other], theirs.keys[other], f"{score:.6f}"


def _precision(
    samples: Samples,
    reference_samples: Samples,
    ours: LinkRows,
    theirs: LinkRows,
    indices: np.ndarray,
) -> dict[str, float]:
    has_label = ours.labels >= 0
    if not has_label.any() or not (theirs.labels >= 0).any():
        raise usage(
            "precision needs labels on both sides",
            fix="a column of labels, or leave `reference_data` out",
        )
    return precision_at(
        samples.groups[ours.numbers][has_label],
        reference_samples.groups[theirs.numbers],
        indices[has_label],
        tuple(range(1, indices.shape[1] + 1)),
    )
