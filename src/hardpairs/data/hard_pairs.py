"""The hard pair table: the hard pairs of each row, hardest first.

It is memory-mapped; HELIP's CSV and JSON of the same pairs are beside it.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import atomic_open, flush_names, make_folder
from hardpairs.core.errors import bad_input, mismatch, usage
from hardpairs.core.lock import alone
from hardpairs.core.npy import write_header
from hardpairs.core.parse import parse_json
from hardpairs.data.manifest import read_manifest, write_manifest
from hardpairs.data.npy_files import map_array, row_blocks

FILES = ("indices.npy", "lengths.npy", "scores.npy")
DTYPES = (np.int32, np.int32, np.float32)
SUFFIX = "_hard_pairs"


@dataclass(frozen=True)
class HardPairTable:
    """Hard pairs of N rows.

    Attributes:
        indices: (N, K) int32, hard pairs of each row, hardest first, padded with -1.
        lengths: (N,) int32, number of hard pairs of each row.
        scores: (N, K) float32, descending, padded with 0; unknown (all 1) for a converted HELIP
            file.
        manifest: Options, fingerprint of the data set, hashes.
    """

    indices: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: str | os.PathLike[str], verify: bool = False) -> HardPairTable:
        """Memory-map a table and check its manifest, sizes and shapes.

        Args:
            folder: The table's folder.
            verify: Check the hashes and every index, too.

        Raises:
            UserError: exit 3 when there is no table, exit 4 when it is damaged.
        """
        folder = Path(folder)
        manifest = read_manifest(folder, verify=verify)
        try:
            arrays: list[Any] = [map_array(folder / name) for name in FILES]
        except ValueError as error:
            raise mismatch(
                f"unreadable table: {error}", where=str(folder), fix="mine again"
            ) from None
        indices, lengths, scores = arrays
        fit = (
            indices.ndim == 2
            and scores.shape == indices.shape
            and lengths.shape == indices.shape[:1]
            and (indices.dtype, lengths.dtype, scores.dtype) == DTYPES
        )
        if not fit:
            raise mismatch(
                "the arrays of the table do not fit together", where=str(folder), fix="mine again"
            )
        table = cls(indices, lengths, scores, manifest)
        if verify:
            check_table(indices, lengths, scores, where=str(folder))
        return table

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the mined data set; ``None`` for foreign files and foreign embeddings."""
        return self.manifest.get("dataset_fingerprint")

    @property
    def has_scores(self) -> bool:
        """Return whether scores are known; a converted HELIP file has none."""
        return self.manifest.get("kind") != "converted"

    @property
    def rejected(self) -> dict[int, str]:
        """Reasons by row number, of rows that mining could not use."""
        return {int(row): reason for row, reason in self.manifest.get("rejected", {}).items()}

    def rows(self) -> Iterator[np.ndarray]:
        """Yield the hard pairs of each row, in order, without padding."""
        for _, (indices, lengths) in row_blocks(self.indices, self.lengths):
            for row, length in zip(indices, lengths, strict=True):
                yield row[:length]


def check_table(
    indices: np.ndarray, lengths: np.ndarray, scores: np.ndarray, *, where: str
) -> None:
    """Refuse (exit 4) a damaged table, naming the row.

    Faults are indices out of range, self pairs, repeats, wrong padding, and scores that are not
    finite or do not descend.

    Args:
        indices: (N, K) integers.
        lengths: (N,) integers.
        scores: (N, K) float32.
        where: The table, for the message.
    """
    for start, block in row_blocks(indices, lengths, scores):
        _check_block(block, start, len(indices), where)


def _check_block(block: Sequence[np.ndarray], start: int, count: int, where: str) -> None:
    """Do what ``check_table`` does for a block of the three arrays.

    Args:
        block: Rows of ``indices``, ``lengths`` and ``scores``.
        start: Number of the first row.
        count: Rows of the table.
        where: The table, for the message.
    """
    indices, lengths, scores = block
    for what, bad in _faults(indices, lengths, scores, start, count).items():
        if bad.any():
            row = start + int(np.flatnonzero(bad.any(axis=1))[0])
            raise mismatch(
                f"damaged hard pair table: {what}", where=f"{where}, row {row}", fix="mine again"
            )


def _faults(
    indices: np.ndarray, lengths: np.ndarray, scores: np.ndarray, start: int, count: int
) -> dict[str, np.ndarray]:
    """Return where rows are wrong, by fault: (rows, K), (rows, K - 1) or (rows, 1) bool.

    ``start`` is the number of the first row, ``count`` that of all rows of the table.
    """
    width = indices.shape[1]
    real = np.arange(width) < lengths[:, None]
    # Padding becomes distinct numbers, so that only repeated hard pairs are equal.
    ordered = np.sort(np.where(real, indices, -1 - np.arange(width)), axis=1)
    return {
        "a length is out of range": ((lengths < 0) | (lengths > width))[:, None],
        f"an index is not a row number of this table (0 to {count - 1})": real
        & ((indices < 0) | (indices >= count)),
        "a row lists itself": real & (indices == np.arange(start, start + len(indices))[:, None]),
        "a row lists a hard pair twice": ordered[:, 1:] == ordered[:, :-1],
        "padding is not -1": ~real & (indices != -1),
        "a score is not finite": ~np.isfinite(scores),
        "scores do not descend": scores[:, 1:] > scores[:, :-1],
    }


def table_folder(out: str | os.PathLike[str], dataset: str) -> Path:
    """Return the folder of the table of a data set."""
    return Path(out) / f"{dataset}{SUFFIX}"


def write_table(
    folder: str | os.PathLike[str],
    indices: np.ndarray,
    scores: np.ndarray,
    manifest: dict[str, Any],
) -> HardPairTable:
    """Write a table, and return it mapped from its files.

    Arrays that are mapped themselves need not fit into memory.

    Args:
        folder: The table's folder.
        indices: (N, K) integers, padded with -1.
        scores: (N, K) floating, padded with 0.
        manifest: JSON values.
    """
    folder = Path(folder)
    make_folder(folder)
    (folder / "manifest.json").unlink(missing_ok=True)  # no table until the new one is written
    flush_names(folder)
    shapes = indices.shape, indices.shape[:1], scores.shape
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(atomic_open(folder / name)) for name in FILES]
        for file, shape, dtype in zip(files, shapes, DTYPES, strict=True):
            write_header(file, shape, dtype)
        for start, rows in row_blocks(indices, scores):
            block = rows[0], (rows[0] >= 0).sum(axis=1), rows[1]
            arrays = [np.ascontiguousarray(a, kind) for a, kind in zip(block, DTYPES, strict=True)]
            _check_block(arrays, start, len(indices), str(folder))
            for file, array in zip(files, arrays, strict=True):
                file.write(array.data)
    written = write_manifest(folder, manifest, FILES)
    mapped_indices, lengths, mapped_scores = (map_array(folder / name) for name in FILES)
    return HardPairTable(mapped_indices, lengths, mapped_scores, written)


def write_helip(out: str | os.PathLike[str], dataset: str, table: HardPairTable) -> None:
    """Write HELIP's two files.

    They are ``<dataset>_hard_sample.csv`` and ``<dataset>_hard_sample_dict.json``. A line of
    the CSV, which has no header, is a row and its hard pairs.

    Args:
        out: The output folder.
        dataset: Name of the data set.
        table: What to write.
    """
    out = Path(out)
    with atomic_open(out / f"{dataset}_hard_sample.csv") as file:
        for row, pairs in enumerate(table.rows()):
            file.write((",".join(map(str, (row, *pairs.tolist()))) + "\n").encode())
    with atomic_open(out / f"{dataset}_hard_sample_dict.json") as file:
        file.write(b"{")
        for row, pairs in enumerate(table.rows()):
            file.write(f'{"," if row else ""}\n"{row}": {json.dumps(pairs.tolist())}'.encode())
        file.write(b"\n}\n")


def open_hard_pairs(
    path: str | os.PathLike[str],
    *,
    num_samples: int,
    verify: bool = False,
    renumber: dict[int, int] | None = None,
) -> HardPairTable:
    """Open the hard pairs of a data set.

    A foreign file is converted once, into ``<name>_hard_pairs_converted/`` beside it.

    Args:
        path: A table's folder, the CSV or JSON beside one, or a foreign HELIP file.
        num_samples: N, rows of the data set.
        verify: As in ``HardPairTable.open``.
        renumber: Row of this data by row number in a foreign file (``hardpairs.data.url_index``);
            numbers that it lacks are left out.

    Raises:
        UserError: exit 2 when the path does not exist, exit 3 or 4 when it is not a table of
            ``num_samples`` rows.
    """
    path = Path(path)
    if not path.exists():
        raise usage(
            "no hard pairs: the path does not exist",
            where=str(path),
            fix="check the path; hardpairs mine makes them",
        )
    folder = path if path.is_dir() else _folder_beside(path)
    if folder is None:
        folder = _convert_helip(path, num_samples, renumber)
    table = HardPairTable.open(folder, verify=verify)
    if len(table.lengths) != num_samples:
        raise mismatch(
            f"the hard pairs have {len(table.lengths)} rows, the data {num_samples}",
            where=str(folder),
            why="row numbers would name other pairs",
            fix="mine again on this data, or give the data it was mined from",
        )
    return table


def _folder_beside(path: Path) -> Path | None:
    for ending in ("_hard_sample.csv", "_hard_sample_dict.json"):
        if path.name.endswith(ending):
            folder = table_folder(path.parent, path.name.removesuffix(ending))
            return folder if (folder / "manifest.json").is_file() else None
    return None


def _convert_helip(path: Path, num_samples: int, renumber: dict[int, int] | None) -> Path:
    folder = path.with_name(f"{path.stem}{SUFFIX}_converted")
    stamp: list[int | str] = [path.stat().st_size, path.stat().st_mtime_ns, num_samples]
    if renumber is not None:
        stamp.append(hashlib.sha256(json.dumps(sorted(renumber.items())).encode()).hexdigest())
    with alone(path.parent):  # of processes that open the file at once, one converts it
        if not _is_converted(folder, stamp):
            _write_converted(path, folder, stamp, num_samples, renumber)
    return folder


def _is_converted(folder: Path, stamp: list[int | str]) -> bool:
    is_there = (folder / "manifest.json").is_file()
    return is_there and bool(read_manifest(folder).get("source_stamp") == stamp)


def _write_converted(
    path: Path,
    folder: Path,
    stamp: list[int | str],
    num_samples: int,
    renumber: dict[int, int] | None,
) -> None:
    """Write the table of a foreign file, see ``open_hard_pairs``.

    Args:
        path: The file.
        folder: The table's folder.
        stamp: What the table follows from.
        num_samples: Rows of the data set.
        renumber: Row of this data by row number in the file.
    """
    try:
        rows = dict(_read_helip_json(path) if path.suffix == ".json" else _read_helip_csv(path))
    except UnicodeDecodeError as error:
        raise bad_input(f"not a hard pair file: {error}", where=str(path)) from None
    if renumber is not None:
        rows = {
            renumber[row]: [renumber[pair] for pair in pairs if pair in renumber]
            for row, pairs in rows.items()
            if row in renumber
        }
    if not any(rows.values()):
        raise bad_input(
            "the file holds no hard pair",
            where=str(path),
            fix="mine hard pairs again",
        )
    outside = [row for row in rows if not 0 <= row < num_samples]
    if outside:
        raise mismatch(
            f"target row {outside[0]} is not in the data ({num_samples} rows)",
            where=str(path),
            fix="give the data it was mined from",
        )
    width = max((len(pairs) for pairs in rows.values()), default=0)
    indices = np.full((num_samples, max(width, 1)), -1, np.int64)
    try:
        for row, pairs in rows.items():
            indices[row, : len(pairs)] = pairs
    except OverflowError:
        raise mismatch(
            f"a hard pair of row {row} is not a row number", where=str(path), fix="mine again"
        ) from None
    scores = (indices >= 0).astype(np.float32)
    check_table(indices, (indices >= 0).sum(axis=1), scores, where=str(path))
    manifest = {"kind": "converted", "source": path.name, "source_stamp": stamp}
    write_table(folder, indices, scores, manifest)


def _read_helip_csv(path: Path) -> Iterator[tuple[int, list[int]]]:
    seen: set[int] = set()
    with open(path, encoding="utf-8", newline="") as file:
        for line, fields in enumerate(csv.reader(file), start=1):
            try:
                row, *pairs = [_row_number(field) for field in fields if field != ""]
            except ValueError:
                raise bad_input(
                    "not a hard pair file: a line must be a row number and its hard pairs",
                    where=f"{path}, line {line}",
                ) from None
            if row in seen:
                raise mismatch(f"row {row} occurs twice", where=f"{path}, line {line}")
            seen.add(row)
            yield row, [pair for pair in pairs if pair != -1]


def _row_number(text: str) -> int:
    """Return the whole number of a text; pandas writes 1.0 for 1."""
    if "." not in text:
        return int(text)
    if not float(text).is_integer():
        raise ValueError(f"{text} is not a row number")
    return int(float(text))


def _read_helip_json(path: Path) -> Iterator[tuple[int, list[int]]]:
    try:
        table = parse_json(path.read_text(encoding="utf-8"))
        for row, pairs in table.items():
            yield int(row), [_row_number(str(pair)) for pair in pairs]
    except (ValueError, AttributeError, TypeError, OverflowError) as error:
        raise bad_input(f"not a hard pair file: {error}", where=str(path)) from None
