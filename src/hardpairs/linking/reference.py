"""Links each row to its nearest rows of a reference list."""

from __future__ import annotations

import argparse
import csv
import io

from hardpairs.cli.data_flags import open_named
from hardpairs.core.atomic import write_text
from hardpairs.core.errors import mismatch, usage
from hardpairs.data.embeddings import Embeddings, open_embeddings
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.samples import Samples
from hardpairs.linking.choose import Rows
from hardpairs.metrics.neighbors import nearest, precision_at
from hardpairs.models.head import EmbeddingHead


def check_same_weights(
    ours: str | None, theirs: Embeddings, *, ours_name: str, theirs_name: str
) -> None:
    """Refuses (exit 4) embeddings that their manifest says are of other weights; where one of them is not known, it passes."""
    made = theirs.manifest.get("weights")
    if None not in (ours, made) and ours != made:
        raise mismatch(
            f"{theirs_name} was embedded by other weights than {ours_name}",
            where=f"{ours_name}: {ours}, {theirs_name}: {made}",
            why="their rows have no space in common",
            fix="embed again by the same ones",
        )


def link_to_reference(
    args: argparse.Namespace,
    embeddings: Embeddings,
    samples: Samples | None,
    head: EmbeddingHead | None = None,
    *,
    image_weight: float = 0.5,
) -> dict[str, float]:
    """Writes OUT/links.csv (row, key, rank, reference row, its key, score), best first for each row; returns precision at 1..k.

    Raises:
        UserError: exit 4 for a list embedded from other data than it says, or by other weights; exit 2 where precision lacks labels.
    """
    ours = Rows.of(embeddings, samples, head)
    other = open_named(args.reference_data, args) if args.reference_data else None
    theirs_embedded = open_embeddings(args.reference, verify=True)
    if other is not None and theirs_embedded.fingerprint:
        check_same_dataset(
            other.fingerprint,
            theirs_embedded.fingerprint,
            ours_name=args.reference_data,
            theirs_name=args.reference,
        )
    check_same_weights(
        embeddings.manifest.get("weights"),
        theirs_embedded,
        ours_name=args.embeddings or args.pretrained,
        theirs_name=args.reference,
    )
    theirs = Rows.of(theirs_embedded, other, head)
    queries, references = ours.pooled(image_weight), theirs.pooled(image_weight)
    if queries.shape[1] != references.shape[1]:
        raise mismatch(
            f"embeddings of {queries.shape[1]} and {references.shape[1]} numbers",
            where=f"{args.embeddings}, {args.reference}",
        )
    indices, scores = nearest(queries, references, args.k)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["row", "key", "rank", "reference_row", "reference_key", "score"])
    for i, (places, values) in enumerate(zip(indices.tolist(), scores.tolist(), strict=True)):
        for rank, (place, value) in enumerate(zip(places, values, strict=True), start=1):
            writer.writerow(
                [
                    ours.numbers[i],
                    ours.keys[i],
                    rank,
                    theirs.numbers[place],
                    theirs.keys[place],
                    f"{value:.6f}",
                ]
            )
    write_text(args.out / "links.csv", text.getvalue())
    if samples is None or other is None:
        return {"rows": len(queries), "references": len(references)}
    labels, reference_labels = samples.groups[ours.numbers], other.groups[theirs.numbers]
    if not samples.labelled[ours.numbers].any() or not other.labelled[theirs.numbers].any():
        raise usage(
            "precision needs labels on both sides",
            fix="--csv-label-key, or leave --reference-data out",
        )
    known = samples.labelled[ours.numbers]
    return precision_at(
        labels[known], reference_labels, indices[known], tuple(range(1, args.k + 1))
    )
