"""Makes the tables that training and linking read out of what CLIPPINGS' users have: pairs labelled in Label Studio, or its CSVs.

    python -m tools.format_news pairs1.json pairs2.json --image-root scans --out news        # Same and Different, to clusters
    python -m tools.format_news day.csv --image-root scans --out news                        # image_id,caption,cluster_label
    python -m tools.format_news food.csv --no-header --split-by row --out food               # image_path,text,label without a header
    python -m tools.format_news scans.csv --unlabelled --out news                            # image and text, no labels

Writes OUT/labelled_news_{train,val}_reformatted.csv, the same with _no_singletons, or OUT/unlabelled_news_{train,val}_reformatted.csv, all with the
columns image_path,text,label; and OUT/conflicts.csv: pairs that were called different and that others join, each with the chain between them.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.atomic import write_text
from hardpairs.core.errors import Exit, bad_input, usage
from hardpairs.data.tables import read_table
from hardpairs.linking.pairs import Clusters, Pair, cluster_pairs, read_label_studio

COLUMNS = ("image_path", "text", "label")
SEED, TRAIN_SHARE = 42, 0.8
UNLABELLED = "999"
IMAGE_NAMES, TEXT_NAMES, LABEL_NAMES = (
    ("image_path", "image_id", "filepath"),
    ("text", "caption", "title"),
    ("label", "cluster_label"),
)
Row = tuple[str, str, str]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs format-news",
        description="Tables of labelled news out of Label Studio pairs or CSVs.",
    )
    parser.add_argument(
        "files", nargs="+", type=Path, help="Label Studio exports (.json), or one table (.csv)"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--image-root",
        type=Path,
        default=Path(),
        help="folder of the pictures, put before each name",
    )
    parser.add_argument(
        "--no-header",
        action="store_true",
        help="the table's columns are image_path, text and label, without a header",
    )
    parser.add_argument(
        "--unlabelled", action="store_true", help="no labels: split by row, label 999"
    )
    parser.add_argument(
        "--split-by",
        choices=("label", "row"),
        default="label",
        help="what stays together (Food101: row)",
    )
    args = parse_arguments(parser, "format-news", argv)
    tables = [file for file in args.files if file.suffix.lower() != ".json"]
    if tables and len(args.files) > 1:
        raise usage("give Label Studio exports, or one table", where=str(tables[0]))
    for file in args.files:
        if not file.is_file():
            raise usage("no such file", where=str(file), fix="check the path")
    if args.unlabelled and not tables:
        raise usage("--unlabelled is for a table; pairs are labels")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    if args.files[0].suffix.lower() == ".json":
        rows = _from_pairs(args)
    else:
        rows = _from_table(args.files[0], header=not args.no_header, unlabelled=args.unlabelled)
    rows = [(str(args.image_root / image), text, label) for image, text, label in rows]
    kind = "unlabelled" if args.unlabelled else "labelled"
    for name, part in split(rows, by_row=args.unlabelled or args.split_by == "row").items():
        _write(args.out / f"{kind}_news_{name}_reformatted.csv", COLUMNS, part)
        if not args.unlabelled:
            sizes = Counter(label for *_, label in part)
            _write(
                args.out / f"{kind}_news_{name}_reformatted_no_singletons.csv",
                COLUMNS,
                [row for row in part if sizes[row[2]] > 1],
            )
    print(
        json.dumps(
            {"rows": len(rows), "labels": len({label for *_, label in rows}), "out": str(args.out)}
        )
    )
    return Exit.OK


def _from_pairs(args: argparse.Namespace) -> list[Row]:
    """Rows in the order in which the pairs name them; each cluster and each single row has a label of its own."""
    pairs: list[Pair] = []
    for file in args.files:
        found, unanswered = read_label_studio(file)
        pairs += found
        if unanswered:
            print(f"{file}: {unanswered} pairs without an answer are left out", file=sys.stderr)
    clusters = cluster_pairs(pairs)
    if clusters.conflicts:
        _write(
            args.out / "conflicts.csv",
            ("first", "second", "chain"),
            [(a, b, " = ".join(chain)) for a, b, chain in clusters.conflicts],
        )
        print(
            f"{len(clusters.conflicts)} pairs called different are in one cluster: {args.out / 'conflicts.csv'}",
            file=sys.stderr,
        )
    _tell(clusters)
    return [(name, clusters.captions[name], str(label)) for name, label in clusters.labels.items()]


def _tell(clusters: Clusters) -> None:
    sizes = Counter(clusters.labels.values())
    singles = sum(size == 1 for size in sizes.values())
    print(
        f"{len(clusters.labels)} pictures: {len(sizes) - singles} clusters and {singles} single ones",
        file=sys.stderr,
    )


def _from_table(path: Path, *, header: bool, unlabelled: bool) -> list[Row]:
    if header:
        columns = read_table(str(path), None, required=())
        image, text = _column(path, columns, IMAGE_NAMES), _column(path, columns, TEXT_NAMES)
        label = [UNLABELLED] * len(image) if unlabelled else _column(path, columns, LABEL_NAMES)
    else:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
        bad = next(
            (number for number, line in enumerate(lines, start=1) if len(line) != len(COLUMNS)),
            None,
        )
        if bad or not lines:
            raise bad_input(
                "not three values: image_path, text, label",
                where=f"{path}, line {bad or 1}",
                fix="leave --no-header out?",
            )
        image, text, label = map(list, zip(*lines, strict=True))
        label = [UNLABELLED] * len(image) if unlabelled else label
    return list(zip(image, text, label, strict=True))


def _column(path: Path, columns: dict[str, list[str]], names: tuple[str, ...]) -> list[str]:
    for name in names:
        if name in columns:
            return columns[name]
    raise bad_input(
        f"no column {' or '.join(names)}; columns found: {', '.join(columns)}",
        where=f"{path}, line 1",
        fix="--no-header?",
    )


def split(rows: list[Row], *, by_row: bool) -> dict[str, list[Row]]:
    """``train`` and ``val``, 80 and 20 %, each in the order of ``rows``; no label is in both unless it is ``by_row``."""
    keys = [str(number) for number in range(len(rows))] if by_row else [label for *_, label in rows]
    names = list(dict.fromkeys(keys))
    order = np.random.default_rng(SEED).permutation(len(names))
    train = {names[number] for number in order[: round(TRAIN_SHARE * len(names))].tolist()}
    parts: dict[str, list[Row]] = {"train": [], "val": []}
    for key, row in zip(keys, rows, strict=True):
        parts["train" if key in train else "val"].append(row)
    return parts


def _write(path: Path, columns: tuple[str, ...], rows: list) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())
