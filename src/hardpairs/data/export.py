"""Hard pairs in the formats of other libraries: parquet tables and JSON lines.

| format | one row is | read by |
|---|---|---|
| parquet | a pair: anchor, partner, rank, score; with the data their keys and captions | anything |
| st-triplet | anchor, positive, negative | sentence-transformers |
| st-ntuple | anchor, positive, negative_1 ... negative_n | sentence-transformers |
| fe-jsonl | {"query", "pos": [...], "neg": [...]} | FlagEmbedding |

The last three leave out rows without a caption or an image, known positives of the anchor (one
group, image or caption), and negatives that the row has already. These are counted, and the next
hard pair is taken. ``parquet`` holds the table as it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import bad_input
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.samples import Samples

BLOCK_ROWS = 1024
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""An image as the datasets library stores it."""


class ExportRows:
    """Anchors, positives and negatives of a table of hard pairs.

    Args:
        table: The hard pairs.
        samples: The data set that they were mined on.
        anchor: ``image``: an image with its caption and the captions of its hard pairs. ``text``:
            a caption with its image and the images of its hard pairs. ``caption``: a caption with
            the other captions of its group (with itself where there is none, as in SimCSE,
            arXiv:2104.08821) and the captions of its hard pairs.
        negatives: Largest number of negatives of an anchor.

    Attributes:
        counts: Numbers of anchors, and of rows and hard pairs that are left out, by reason.
    """

    def __init__(self, table: HardPairTable, samples: Samples, anchor: str, negatives: int) -> None:
        self.table, self.samples, self.anchor, self.negatives = table, samples, anchor, negatives
        self.counts: Counter[str] = Counter()
        self._captions = _captions_of_groups(samples) if anchor == "caption" else {}
        # two rows with the same of these are one negative
        self._shown_ids = samples.images if anchor == "text" else samples.texts

    @property
    def types(self) -> tuple[pa.DataType, pa.DataType, pa.DataType]:
        """The types of anchor, positive and negative."""
        return {
            "image": (IMAGE, pa.string(), pa.string()),
            "text": (pa.string(), IMAGE, IMAGE),
            "caption": (pa.string(),) * 3,
        }[self.anchor]

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        """Yield each row that has negatives, and the rows of its hardest ones."""
        for row, hard_pairs in enumerate(self.table.rows()):
            if row in self.samples.rejected:
                self.counts[f"left out: {self.samples.rejected[row]}"] += 1
                continue
            negatives = list(islice(self._negatives(row, hard_pairs.tolist()), self.negatives))
            if negatives:
                yield row, negatives
            else:
                self.counts["left out: no hard pair"] += 1

    def sides(self, row: int) -> tuple[Any, list[Any]]:
        """Return anchor and positives of a row that is written."""
        self.counts["anchors"] += 1
        caption = self.samples.caption(row)
        if self.anchor == "image":
            return self._image(row), [caption]
        if self.anchor == "text":
            return caption, [self._image(row)]
        others = [other for other in self._captions[self.samples.group(row)] if other != caption]
        self.counts["with the caption itself as positive"] += not others
        return caption, others or [caption]

    def negative(self, row: int) -> Any:
        """Return the value of a negative: its image or its caption."""
        return self._image(row) if self.anchor == "text" else self.samples.caption(row)

    def _negatives(self, row: int, hard_pairs: list[int]) -> Iterator[int]:
        samples, shown = self.samples, set()
        for other in hard_pairs:
            if other in samples.rejected:
                reason = samples.rejected[other]
            elif self._is_positive(row, other):
                reason = "known positive"
            elif self._shown_ids[other] in shown:
                reason = "repeated"
            else:
                shown.add(self._shown_ids[other])
                yield other
                continue
            self.counts[f"hard pairs skipped: {reason}"] += 1

    def _is_positive(self, row: int, other: int) -> bool:
        """Return whether two rows share an id, or the other's caption is a positive of the row."""
        samples = self.samples
        if (samples.positives[other] == samples.positives[row]).any():
            return True
        captions = self._captions.get(samples.group(row), ())
        return self.anchor == "caption" and samples.caption(other) in captions

    def _image(self, row: int) -> dict[str, Any]:
        try:
            return {"bytes": self.samples.image_bytes(row), "path": None}
        except OSError as error:
            where = f"{self.samples.source}, row {row}"
            raise bad_input(f"an image cannot be read: {error}", where=where) from None


def _captions_of_groups(samples: Samples) -> dict[int, list[str]]:
    """Return the captions of each group, each once, in order."""
    captions: dict[int, dict[str, None]] = {}
    for row in range(len(samples)):
        if row not in samples.rejected:
            captions.setdefault(samples.group(row), {})[samples.caption(row)] = None
    return {group: list(own) for group, own in captions.items()}


def write_triplets(rows: ExportRows, out: Path) -> None:
    """Write a parquet table of anchor, positive and negative."""

    def triplets() -> Iterator[tuple[Any, ...]]:
        for row, negatives in rows:
            anchor, positives = rows.sides(row)
            for other in negatives:
                yield anchor, positives[0], rows.negative(other)

    columns = dict(zip(("anchor", "positive", "negative"), rows.types, strict=True))
    _write_parquet(out, columns, triplets())


def write_tuples(rows: ExportRows, out: Path) -> None:
    """Write a parquet table of anchor, positive and as many negatives in every row.

    Anchors with fewer negatives are left out, and counted.
    """

    def tuples() -> Iterator[tuple[Any, ...]]:
        for row, negatives in rows:
            if len(negatives) < rows.negatives:
                rows.counts[f"left out: less than {rows.negatives} hard pairs"] += 1
                continue
            anchor, positives = rows.sides(row)
            yield anchor, positives[0], *map(rows.negative, negatives)

    anchor, positive, negative = rows.types
    names = [f"negative_{number}" for number in range(1, rows.negatives + 1)]
    columns = {"anchor": anchor, "positive": positive, **dict.fromkeys(names, negative)}
    _write_parquet(out, columns, tuples())


def write_flag_embedding(rows: ExportRows, out: Path) -> None:
    """Write FlagEmbedding's JSON lines: query, positives, negatives."""
    with atomic_open(out) as file:
        for row, negatives in rows:
            anchor, positives = rows.sides(row)
            line = {"query": anchor, "pos": positives, "neg": list(map(rows.negative, negatives))}
            file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def write_pairs(
    table: HardPairTable, samples: Samples | None, out: Path, negatives: int | None
) -> int:
    """Write every hard pair as numbers, and with the data as keys and captions, too.

    Args:
        table: The hard pairs.
        samples: The data set that they were mined on.
        out: The parquet file.
        negatives: Largest number of hard pairs of a row; ``None``: all.

    Returns:
        The number of pairs.
    """
    columns = {
        "anchor": pa.int32(),
        "partner": pa.int32(),
        "rank": pa.int32(),
        "score": pa.float32(),
    }
    texts: list[Callable[[int], str]] = []
    if samples is not None:
        texts = [samples.names.__getitem__, samples.caption]
        names = ("anchor_key", "anchor_caption", "partner_key", "partner_caption")
        columns |= dict.fromkeys(names, pa.string())

    def pairs() -> Iterator[tuple[Any, ...]]:
        for row, hard_pairs in enumerate(table.rows()):
            for rank, other in enumerate(hard_pairs[:negatives].tolist()):
                shown = (text(i) for i in (row, other) for text in texts)
                yield row, other, rank, float(table.scores[row, rank]), *shown

    _write_parquet(out, columns, pairs())
    lengths = np.asarray(table.lengths)
    return int((lengths if negatives is None else np.minimum(lengths, negatives)).sum())


def _write_parquet(
    out: Path, columns: dict[str, pa.DataType], rows: Iterator[tuple[Any, ...]]
) -> None:
    """Write rows in blocks, with the description that the datasets library reads."""
    info = json.dumps({"info": {"features": _features(columns)}})
    schema = pa.schema(list(columns.items()), metadata={"huggingface": info})
    with atomic_open(out) as file, pq.ParquetWriter(file, schema) as writer:
        while block := list(islice(rows, BLOCK_ROWS)):
            values = zip(zip(*block, strict=True), columns.values(), strict=True)
            arrays = [pa.array(column, kind) for column, kind in values]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _features(columns: dict[str, pa.DataType]) -> dict[str, dict[str, str]]:
    def feature(kind: pa.DataType) -> dict[str, str]:
        if kind == IMAGE:
            return {"_type": "Image"}
        return {"dtype": "float32" if kind == pa.float32() else str(kind), "_type": "Value"}

    return {name: feature(kind) for name, kind in columns.items()}


WRITERS: dict[str, Callable[[ExportRows, Path], None]] = {
    "st-triplet": write_triplets,
    "st-ntuple": write_tuples,
    "fe-jsonl": write_flag_embedding,
}
"""The formats with anchors, positives and negatives."""
