"""Writes hard pairs in the formats of other libraries.

    python -m tools.export_pairs OUT/cc3m_hard_sample.csv --to parquet --out pairs.parquet
    python -m tools.export_pairs OUT/cc3m_hard_sample.csv --to st-ntuple --data cc3m.csv --out tuples.parquet --negatives 5
    python -m tools.export_pairs OUT/cc3m_hard_sample.csv --to fe-jsonl --data cc3m.csv --out train.jsonl

| --to | one row is | read by |
|---|---|---|
| parquet | a pair: anchor, partner, rank, score; with --data their keys and captions | anything |
| st-triplet | anchor, positive, negative | sentence-transformers |
| st-ntuple | anchor, positive, negative_1 ... negative_n | sentence-transformers |
| fe-jsonl | {"query", "pos": [...], "neg": [...]} | FlagEmbedding |

``--anchor`` says what is compared with what. ``image``: a picture with its caption and its hard pairs' captions; ``text``: a caption with
its picture and its hard pairs' pictures; ``caption``: a caption with the other captions of its group (with itself where there is none, as
in SimCSE, arXiv:2104.08821) and its hard pairs' captions. Rows without a caption or a picture, known positives of the anchor (one group,
picture or caption) and negatives that stand in the row already are left out of these, counted, and the next of the list taken; ``parquet``
holds the table as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import Exit, bad_input, usage, whole_number
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.open_tables import open_tables
from hardpairs.data.samples import Samples

FORMATS = ("parquet", "st-triplet", "st-ntuple", "fe-jsonl")
ANCHORS = ("image", "text", "caption")
ROWS_AT_ONCE = 1024
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How the datasets library stores a picture."""


class Pairs:
    """What stands in the columns of a row, by anchor.

    Attributes:
        counts: rows that were written, and left out with the reason.
    """

    def __init__(self, table: HardPairTable, samples: Samples, anchor: str, negatives: int) -> None:
        self.table, self.samples, self.anchor, self.negatives = table, samples, anchor, negatives
        self.counts: Counter[str] = Counter()
        self._captions = _captions_of_groups(samples) if anchor == "caption" else {}
        self._shown = (
            samples.images if anchor == "text" else samples.texts
        )  # two rows with one of these are one negative

    @property
    def types(self) -> tuple[pa.DataType, pa.DataType, pa.DataType]:
        """Of anchor, positive and negative."""
        return {
            "image": (IMAGE, pa.string(), pa.string()),
            "text": (pa.string(), IMAGE, IMAGE),
            "caption": (pa.string(),) * 3,
        }[self.anchor]

    def rows(self) -> Iterator[tuple[int, list[int]]]:
        """(anchor, its hardest partners that are negatives, each shown once), of rows that have any."""
        for row, partners in enumerate(self.table.rows()):
            if row in self.samples.rejected:
                self.counts[f"left out: {self.samples.rejected[row]}"] += 1
            elif chosen := list(islice(self._negatives(row, partners.tolist()), self.negatives)):
                yield row, chosen
            else:
                self.counts["left out: no hard pair"] += 1

    def _negatives(self, row: int, partners: list[int]) -> Iterator[int]:
        samples, seen = self.samples, set()
        for partner in partners:
            if partner in samples.rejected:
                reason = samples.rejected[partner]
            elif (samples.positives[partner] == samples.positives[row]).any() or self._is_positive(
                row, partner
            ):
                reason = "known positive"
            elif self._shown[partner] in seen:
                reason = "repeated"
            else:
                seen.add(self._shown[partner])
                yield partner
                continue
            self.counts[f"hard pairs skipped: {reason}"] += 1

    def _is_positive(self, row: int, partner: int) -> bool:
        """Whether the partner's caption, though of another group, is among the positives that are written."""
        return (
            self.anchor == "caption"
            and self.samples.caption(partner) in self._captions[self.samples.group(row)]
        )

    def picture(self, row: int) -> dict[str, Any]:
        try:
            return {"bytes": self.samples.image_bytes(row), "path": None}
        except OSError as error:
            raise bad_input(
                f"a picture cannot be read: {error}", where=f"{self.samples.source}, row {row}"
            ) from None

    def sides(self, row: int) -> tuple[Any, list[Any]]:
        """(anchor, positives)."""
        caption = self.samples.caption(row)
        if self.anchor == "caption":
            others = [
                other for other in self._captions[self.samples.group(row)] if other != caption
            ]
            self.counts["with the caption itself as positive"] += not others
            return caption, others or [caption]
        pair = (self.picture(row), caption)
        return (pair[0], [pair[1]]) if self.anchor == "image" else (pair[1], [pair[0]])

    def negative(self, row: int) -> Any:
        return self.picture(row) if self.anchor == "text" else self.samples.caption(row)


def _captions_of_groups(samples: Samples) -> dict[int, list[str]]:
    """Captions of each group, each once, in order."""
    found: dict[int, dict[str, None]] = {}
    for row in range(len(samples)):
        if row not in samples.rejected:
            found.setdefault(samples.group(row), {})[samples.caption(row)] = None
    return {group: list(captions) for group, captions in found.items()}


def write_triplets(pairs: Pairs, out: Path) -> None:
    def triplets() -> Iterator[tuple[Any, ...]]:
        for row, partners in pairs.rows():
            anchor, positives = pairs.sides(row)
            pairs.counts["anchors"] += 1
            for partner in partners:
                yield anchor, positives[0], pairs.negative(partner)

    _write_parquet(
        out, dict(zip(("anchor", "positive", "negative"), pairs.types, strict=True)), triplets()
    )


def write_tuples(pairs: Pairs, out: Path) -> None:
    """All rows have as many columns, so rows with fewer partners are left out, counted."""

    def tuples() -> Iterator[tuple[Any, ...]]:
        for row, partners in pairs.rows():
            if len(partners) < pairs.negatives:
                pairs.counts[f"left out: less than {pairs.negatives} hard pairs"] += 1
                continue
            anchor, positives = pairs.sides(row)
            pairs.counts["anchors"] += 1
            yield anchor, positives[0], *map(pairs.negative, partners)

    anchor, positive, negative = pairs.types
    names = [f"negative_{place}" for place in range(1, pairs.negatives + 1)]
    _write_parquet(
        out, {"anchor": anchor, "positive": positive, **dict.fromkeys(names, negative)}, tuples()
    )


def write_flag_embedding(pairs: Pairs, out: Path) -> None:
    with atomic_open(out) as file:
        for row, partners in pairs.rows():
            query, positives = pairs.sides(row)
            pairs.counts["anchors"] += 1
            line = {
                "query": query,
                "pos": positives,
                "neg": [pairs.negative(partner) for partner in partners],
            }
            file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def write_pairs(
    table: HardPairTable, samples: Samples | None, out: Path, negatives: int | None
) -> None:
    """Every pair as numbers, and with ``samples`` as keys and captions."""
    columns = {
        "anchor": pa.int32(),
        "partner": pa.int32(),
        "rank": pa.int32(),
        "score": pa.float32(),
    }
    texts = [] if samples is None else [samples.keys.__getitem__, samples.caption]
    if samples is not None:
        columns |= dict.fromkeys(
            ("anchor_key", "anchor_caption", "partner_key", "partner_caption"), pa.string()
        )

    def pairs() -> Iterator[tuple[Any, ...]]:
        for row, partners in enumerate(table.rows()):
            for rank, partner in enumerate(partners[:negatives].tolist()):
                yield (
                    row,
                    partner,
                    rank,
                    float(table.scores[row, rank]),
                    *(text(i) for i in (row, partner) for text in texts),
                )

    _write_parquet(out, columns, pairs())


def _write_parquet(
    out: Path, columns: dict[str, pa.DataType], rows: Iterator[tuple[Any, ...]]
) -> None:
    """Writes rows a few at a time, with what the datasets library wants to know of the columns."""
    schema = pa.schema(
        list(columns.items()),
        metadata={"huggingface": json.dumps({"info": {"features": _features(columns)}})},
    )
    with atomic_open(out) as file, pq.ParquetWriter(file, schema) as writer:
        while block := list(islice(rows, ROWS_AT_ONCE)):
            arrays = [
                pa.array(values, kind)
                for values, kind in zip(zip(*block, strict=True), columns.values(), strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _features(columns: dict[str, pa.DataType]) -> dict[str, dict[str, str]]:
    return {
        name: {"_type": "Image"} if kind == IMAGE else {"dtype": _dtype(kind), "_type": "Value"}
        for name, kind in columns.items()
    }


def _dtype(kind: pa.DataType) -> str:
    return {pa.float32(): "float32"}.get(kind, str(kind))


WRITERS: dict[str, Callable[[Pairs, Path], None]] = {
    "st-triplet": write_triplets,
    "st-ntuple": write_tuples,
    "fe-jsonl": write_flag_embedding,
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs export",
        description="Write hard pairs in the formats of other libraries.",
    )
    parser.add_argument(
        "table",
        type=Path,
        help="hard pairs: CSV or JSON, the table's folder, or the folder of one mining run",
    )
    parser.add_argument("--to", required=True, choices=FORMATS)
    parser.add_argument("--out", required=True, type=Path, help="the file to write")
    parser.add_argument("--data", help="what they were mined on: CSV, TSV, shards or captions.json")
    parser.add_argument(
        "--anchor", choices=ANCHORS, help="default: image, and caption for fe-jsonl"
    )
    parser.add_argument(
        "--negatives",
        type=whole_number(1),
        help="hardest partners of each row that are written (default 5; parquet: all)",
    )
    add_data_flags(parser)
    args = parse_arguments(parser, "export", argv)
    if args.to == "parquet" and args.anchor:
        raise usage(
            "--anchor is for the formats with an anchor and a positive",
            fix="leave it out, or --to st-triplet",
        )
    if args.to != "parquet" and not args.data:
        raise usage(
            f"--to {args.to} writes captions, and nothing says where they are",
            fix="--data: what the pairs were mined on",
        )
    if args.to == "fe-jsonl" and args.anchor not in (None, "caption"):
        raise usage("FlagEmbedding reads texts alone", fix="--anchor caption")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    samples = open_named(args.data, args) if args.data else None
    table = next(iter(open_tables([args.table], samples).values()))
    if samples is None or args.to == "parquet":
        write_pairs(table, samples, args.out, args.negatives)
        print(
            f"{int(np.asarray(table.lengths).clip(max=args.negatives).sum())} pairs: {args.out}",
            file=sys.stderr,
        )
        return Exit.OK
    pairs = Pairs(
        table,
        samples,
        args.anchor or ("caption" if args.to == "fe-jsonl" else "image"),
        args.negatives or 5,
    )
    WRITERS[args.to](pairs, args.out)
    told = ", ".join(f"{count} {what}" for what, count in pairs.counts.items() if count)
    print(f"{told}: {args.out}", file=sys.stderr)
    return Exit.OK
