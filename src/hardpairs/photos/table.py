"""The rows of an index: one place each, as columns that open without parsing."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import mismatch
from hardpairs.data.strings import PackedStrings
from hardpairs.photos.scan import Place

NO_DIGEST = bytes(32)


@dataclass(frozen=True)
class Row:
    """``digest``: sha256 of the picture's bytes, zeros where they could not be had; ``note``: caption, or why it cannot be read."""

    place: Place
    digest: bytes
    note: str


@dataclass(frozen=True)
class Table:
    """Columns of N rows. ``notes`` are captions in the table of embedded pictures, reasons in that of unreadable ones.

    Attributes:
        paths, keys, notes: texts.
        offset, size, mtime_ns: int64, shape (N,), as in ``hardpairs.photos.scan.Place``.
        digest: uint8, shape (N, 32), sha256 of the encoded picture.
    """

    paths: PackedStrings
    keys: PackedStrings
    notes: PackedStrings
    offset: np.ndarray
    size: np.ndarray
    mtime_ns: np.ndarray
    digest: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Table:
        rows = list(rows)
        numbers = np.array([row.place[2:] for row in rows], np.int64).reshape(len(rows), 3)
        digest = np.frombuffer(b"".join(row.digest for row in rows), np.uint8).reshape(
            len(rows), 32
        )
        texts = (
            [row.place.path for row in rows],
            [row.place.key for row in rows],
            [row.note for row in rows],
        )
        return cls(
            *map(PackedStrings.pack, texts), numbers[:, 0], numbers[:, 1], numbers[:, 2], digest
        )

    def __len__(self) -> int:
        return len(self.offset)

    def place(self, row: int) -> Place:
        return Place(
            self.paths[row],
            self.keys[row],
            int(self.offset[row]),
            int(self.size[row]),
            int(self.mtime_ns[row]),
        )

    def row(self, row: int) -> Row:
        return Row(self.place(row), self.digest[row].tobytes(), self.notes[row])

    def places(self) -> Iterator[Place]:
        columns = (
            self.paths,
            self.keys,
            self.offset.tolist(),
            self.size.tolist(),
            self.mtime_ns.tolist(),
        )
        return map(Place._make, zip(*columns, strict=True))

    def columns(self) -> dict[str, np.ndarray]:
        """Plain arrays by name; a text column as its bytes and their offsets."""
        found = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, PackedStrings):
                found[f"{field.name}_data"], found[f"{field.name}_offsets"] = (
                    value.data,
                    value.offsets,
                )
            else:
                found[field.name] = value
        return found

    def write(self, path: Path) -> None:
        with atomic_open(path) as file:
            np.savez(file, **self.columns())

    @classmethod
    def read(cls, path: Path) -> Table:
        """
        Raises:
            UserError: exit 4 for a file that is torn or none of ours.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(*(_column(arrays, field.name) for field in fields(cls)))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise mismatch(
                f"the index is damaged: {error!r}",
                where=str(path),
                fix="delete the index folder, and index again",
            ) from None


def _column(arrays, name: str):
    return (
        arrays[name]
        if name in arrays
        else PackedStrings(arrays[f"{name}_data"], arrays[f"{name}_offsets"])
    )
