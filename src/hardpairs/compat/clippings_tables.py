"""CLIPPINGS' tables of news images: read, split and written under its names."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hardpairs.core.atomic import csv_lines, write_text
from hardpairs.core.errors import bad_input
from hardpairs.data.shards import IMAGE_EXTENSIONS
from hardpairs.data.tables import read_table
from hardpairs.linking.label_studio import Clusters

SEED, TRAIN_SHARE = 42, 0.8
"""CLIPPINGS' seed and share of the training part."""
NO_LABEL = "999"
"""CLIPPINGS' label of a row without one."""
COLUMN_NAMES = {
    "image_path": ("image_path", "image_id", "filepath"),
    "text": ("text", "caption", "title"),
    "label": ("label", "cluster_label"),
}
"""Column of our table -> the names it may have in theirs, the first one that is present."""


class NewsRow(NamedTuple):
    """One image with its text and its label; the fields are the columns of the tables."""

    image_path: str
    text: str
    label: str


def rows_of_clusters(clusters: Clusters) -> list[NewsRow]:
    """Return a row for each image, in the order in which the pairs name them."""
    captions, labels = clusters.captions, clusters.labels
    return [NewsRow(name, captions[name], str(label)) for name, label in labels.items()]


def read_rows(path: Path, *, header: bool = True, labeled: bool = True) -> list[NewsRow]:
    """Read a table of images, texts and labels.

    Args:
        path: A CSV or TSV file.
        header: Whether its first line names the columns; else they are image_path, text, label.
        labeled: Whether its labels count; else each row gets CLIPPINGS' label for none.

    Returns:
        The rows in the file's order.

    Raises:
        UserError: exit 3 for a table without these columns.
    """
    columns = _named_columns(path, labeled) if header else _columns_by_position(path)
    labels = columns["label"] if labeled else [NO_LABEL] * len(columns["text"])
    return list(map(NewsRow, columns["image_path"], columns["text"], labels))


def _named_columns(path: Path, labeled: bool) -> dict[str, list[str]]:
    table = read_table(str(path), None, required=())
    columns = {}
    for column, names in COLUMN_NAMES.items():
        name = next((name for name in names if name in table), None)
        if name is not None:
            columns[column] = table[name]
        elif labeled or column != "label":
            what = f"no column {' or '.join(names)}; columns of the file: {', '.join(table)}"
            raise bad_input(what, where=f"{path}, line 1", fix="is the table without a header?")
    return columns


def _columns_by_position(path: Path) -> dict[str, list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (ValueError, csv.Error) as error:
        raise bad_input(f"not a table of text: {error}", where=str(path)) from None
    wrong = (n for n, line in enumerate(lines, start=1) if len(line) != len(NewsRow._fields))
    number = next(wrong, None if lines else 1)
    if number is not None:
        what = "not three values: image_path, text, label"
        raise bad_input(what, where=f"{path}, line {number}", fix="has the table a header?")
    return dict(zip(NewsRow._fields, map(list, zip(*lines, strict=True)), strict=True))


def find_images(
    rows: Sequence[NewsRow], root: Path, extension: str = ""
) -> tuple[list[NewsRow], list[str]]:
    """Put the folder of the images before each name, and the extension behind one without.

    CLIPPINGS' ids and those of Label Studio have no extension.

    Args:
        rows: The rows.
        root: The folder.
        extension: What names without an image's extension get, such as ``.jpg``; empty: that of the
            file that is there.

    Returns:
        The rows with paths, and the paths that lead to no file.
    """
    paths = {row.image_path: _image_path(root / row.image_path, extension) for row in rows}
    absent = [str(path) for path in paths.values() if not path.is_file()]
    return [row._replace(image_path=str(paths[row.image_path])) for row in rows], absent


def _image_path(path: Path, extension: str) -> Path:
    if path.name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS or path.is_file():
        return path
    endings = [extension] if extension else [f".{name}" for name in IMAGE_EXTENSIONS]
    candidates = [path.with_name(path.name + ending) for ending in endings]
    if extension:
        return candidates[0]
    return next((candidate for candidate in candidates if candidate.is_file()), path)


def split_rows(rows: Sequence[NewsRow], *, by_row: bool) -> dict[str, list[NewsRow]]:
    """Split rows into ``train`` and ``val``, 80 and 20 %, by CLIPPINGS' seed.

    Args:
        rows: The rows; both parts keep their order.
        by_row: Whether to split row by row; else no label is in both parts.

    Returns:
        The rows of each part by its name.
    """
    keys = [str(number) for number in range(len(rows))] if by_row else [row.label for row in rows]
    names = list(dict.fromkeys(keys))
    order = np.random.default_rng(SEED).permutation(len(names))
    train = {names[number] for number in order[: round(TRAIN_SHARE * len(names))].tolist()}
    parts: dict[str, list[NewsRow]] = {"train": [], "val": []}
    for key, row in zip(keys, rows, strict=True):
        parts["train" if key in train else "val"].append(row)
    return parts


def write_parts(out: Path, parts: dict[str, list[NewsRow]], *, labeled: bool) -> None:
    """Write the parts as ``OUT/[un]labelled_news_{train,val}_reformatted.csv``.

    Args:
        out: The folder.
        parts: Rows by name of the part.
        labeled: Whether the rows have labels. A second table of each part is then without the
            rows whose label no other row of the part has (``_no_singletons``).
    """
    for name, rows in parts.items():
        start = f"{'labelled' if labeled else 'unlabelled'}_news_{name}_reformatted"
        write_csv(out / f"{start}.csv", NewsRow._fields, rows)
        if labeled:
            sizes = Counter(row.label for row in rows)
            several = [row for row in rows if sizes[row.label] > 1]
            write_csv(out / f"{start}_no_singletons.csv", NewsRow._fields, several)


def write_conflicts(path: Path, clusters: Clusters) -> None:
    """Write the pairs that were called different and that others join, each with the chain."""
    rows = ((first, second, " = ".join(chain)) for first, second, chain in clusters.conflicts)
    write_csv(path, ("first", "second", "chain"), rows)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table with a header."""
    write_text(path, "".join(csv_lines([columns, *rows])))
