"""Rows of shards in memory-mapped files, which all processes of a machine share.

Opened from their tars, rows are copied into each process, through Python's texts. Stored rows are
pages of files: a process looks at those that it needs, and the system takes them back where memory
is short. They are written some tars at a time, so that writing them takes little memory, too.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import atomic_open, flush_names, make_folder
from hardpairs.core.errors import mismatch, usage
from hardpairs.core.remote import FilePath, check_allowed, is_url, state_of
from hardpairs.data.clip_benchmark import holds_lines
from hardpairs.data.image_files import ImageFiles
from hardpairs.data.manifest import NAME, read_manifest, write_manifest
from hardpairs.data.samples import EMPTY_CAPTION, MISSING_IMAGE, Samples
from hardpairs.data.shard_rows import check_shard_rows, rows_of_shards
from hardpairs.data.shards import USUAL, Fields, expand_shards, open_indexes, shard_names
from hardpairs.data.strings import PackedStrings

KIND = "stored_rows"
TEXTS = ("keys", "captions", "shards", "urls")
COLUMNS: dict[str, Any] = {
    **{f"{name}_data": np.uint8 for name in TEXTS},
    **{f"{name}_offsets": np.int64 for name in TEXTS},
    "images": np.int64,
    "groups": np.int64,
    "texts": np.int64,
    "labelled": np.bool_,
    "tar_of_row": np.int32,
    "image_offsets": np.int64,
    "image_sizes": np.int64,
    "rejected_rows": np.int64,
    "rejected_reasons": np.uint8,
}
"""Dtypes of the columns; each is a file of numbers, one after the other."""
REASONS = (EMPTY_CAPTION, MISSING_IMAGE)
TARS_AT_ONCE = 16


class RejectedRows(Mapping[int, str]):
    """Reasons by row, in two arrays.

    Args:
        rows: (R,) int64, ascending.
        reasons: (R,) uint8, numbers of ``REASONS``.
    """

    def __init__(self, rows: np.ndarray, reasons: np.ndarray) -> None:
        self._rows, self._reasons = rows, reasons

    def __getitem__(self, row: int) -> str:
        """Return the reason of a row."""
        i = int(np.searchsorted(self._rows, row))
        if i == len(self) or self._rows[i] != row:
            raise KeyError(row)
        return REASONS[self._reasons[i]]

    def __iter__(self) -> Iterator[int]:
        """Iterate over the rows."""
        return map(int, self._rows)

    def __len__(self) -> int:
        """Return R."""
        return len(self._rows)


def store_rows(
    shards: str | os.PathLike[str] | list[str],
    folder: Path,
    *,
    fields: Fields = USUAL,
    unlabelled: frozenset[str] = frozenset(),
) -> Samples:
    """Write the rows of shards into a folder that ``open_samples`` opens.

    Args:
        shards: As in ``expand_shards``.
        folder: The rows' folder. Rows that are in it are written anew.
        fields: Where images, captions and groups are in a sample.
        unlabelled: Values of the group that mean none.

    Returns:
        The stored rows.

    Raises:
        UserError: exit 2 for shards whose captions have several lines, which have no file form;
            exit 3 for shards without a sample.
    """
    paths = expand_shards(shards)
    if holds_lines(paths):
        raise usage("CLIP_benchmark's shards cannot be stored", where=str(shards))
    make_folder(folder)
    (folder / NAME).unlink(missing_ok=True)  # no rows until the new ones are whole
    flush_names(folder)
    suffixes: set[str] = set()
    has_groups, first_row, ends = False, 0, dict.fromkeys(TEXTS, 0)
    with ExitStack() as stack:
        files = {name: stack.enter_context(atomic_open(folder / file_of(name))) for name in COLUMNS}
        for name in TEXTS:
            files[f"{name}_offsets"].write(bytes(8))  # the first text begins at 0
        for first_tar, part in _parts(paths, fields, unlabelled):
            columns = _columns(part, first_tar, first_row)
            for name in TEXTS:
                columns[f"{name}_offsets"] = columns[f"{name}_offsets"] + ends[name]
                ends[name] += len(columns[f"{name}_data"])
            for name, values in columns.items():
                files[name].write(values.astype(COLUMNS[name]).tobytes())
            first_row += len(part)
            suffixes.update(part.suffixes)
            has_groups |= bool(part.labelled.any())
    check_shard_rows(str(shards), first_row, has_groups, fields)
    manifest = {
        "kind": KIND,
        "tars": [_whole_name(path) for path in paths],
        "states": {_whole_name(path): state_of(path) for path in paths if not is_url(str(path))},
        "suffixes": sorted(suffixes),
        "has_groups": has_groups,
    }
    manifest["dataset_fingerprint"] = _rows_in(folder, manifest).fingerprint
    write_manifest(folder, manifest, map(file_of, COLUMNS))
    return open_stored(folder, allow_remote=True)


def _whole_name(path: FilePath) -> str:
    return str(path) if is_url(str(path)) else os.path.abspath(str(path))


def is_stored(name: str) -> bool:
    """Return whether a folder holds stored rows."""
    return not is_url(name) and os.path.isfile(os.path.join(name, file_of("tar_of_row")))


def open_stored(folder: Path, *, allow_remote: bool = False) -> Samples:
    """Map stored rows.

    Args:
        folder: The rows' folder.
        allow_remote: Whether tars behind URLs are read.

    Raises:
        UserError: exit 2 for tars behind URLs that are not allowed, exit 3 for unfinished rows,
            exit 4 for damaged ones and for tars that have changed.
    """
    manifest = read_manifest(folder)
    for tar in manifest["tars"]:
        check_allowed(tar, allow_remote=allow_remote)
    for tar, state in manifest["states"].items():
        if not os.path.isfile(tar) or list(state_of(Path(tar))) != state:
            raise mismatch(
                "a tar is not the one whose rows were stored",
                where=f"{tar}, {folder}",
                why="images would be read from wrong places",
                fix="store the rows again",
            )
    rows = _rows_in(folder, manifest)
    rows.fingerprint = manifest["dataset_fingerprint"]
    return rows


def file_of(column: str) -> str:
    """Return the name of a column's file."""
    return f"{column}.bin"


def _parts(
    paths: Sequence[FilePath], fields: Fields, unlabelled: frozenset[str]
) -> Iterator[tuple[int, Samples]]:
    """Yield the rows of some tars at a time, with the number of the first tar."""
    names = shard_names(paths)
    for first in range(0, len(paths), TARS_AT_ONCE):
        some = slice(first, first + TARS_AT_ONCE)
        indexes = open_indexes(paths[some], fields)
        yield first, rows_of_shards("", paths[some], names[some], indexes, unlabelled)


def _columns(part: Samples, first_tar: int, first_row: int) -> dict[str, np.ndarray]:
    """Return the columns of a part; its texts begin at 0."""
    columns = {
        "images": part.images,
        "groups": part.groups,
        "texts": part.texts,
        "labelled": part.labelled,
        "tar_of_row": part.files.path_of_row + first_tar,
        "image_offsets": part.files.offset,
        "image_sizes": part.files.size,
        "rejected_rows": np.array(list(part.rejected), np.int64) + first_row,
        "rejected_reasons": np.array(list(map(REASONS.index, part.rejected.values())), np.uint8),
    }
    for name in TEXTS:
        texts: PackedStrings = getattr(part, name)
        columns |= {f"{name}_data": texts.data, f"{name}_offsets": texts.offsets[1:]}
    return columns


def _rows_in(folder: Path, manifest: dict[str, Any]) -> Samples:
    columns = {name: _mapped(folder / file_of(name), dtype) for name, dtype in COLUMNS.items()}
    texts = {
        name: PackedStrings(columns[f"{name}_data"], columns[f"{name}_offsets"]) for name in TEXTS
    }
    rows = Samples(
        str(folder),
        **texts,
        images=columns["images"],
        groups=columns["groups" if manifest["has_groups"] else "images"],
        labelled=columns["labelled"],
        rejected=RejectedRows(columns["rejected_rows"], columns["rejected_reasons"]),
        files=ImageFiles(
            manifest["tars"],
            columns["tar_of_row"],
            columns["image_offsets"],
            columns["image_sizes"],
            allow_remote=True,  # or the rows would not have been opened
        ),
        suffixes=manifest["suffixes"],
    )
    rows.texts = columns["texts"]
    return rows


def _mapped(path: Path, dtype: Any) -> np.ndarray:
    if not path.stat().st_size:  # which cannot be mapped
        return np.empty(0, dtype)
    with open(path, "rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    pages.madvise(mmap.MADV_RANDOM)  # batches look at rows far apart; their neighbors are not read
    return np.frombuffer(pages, dtype)
