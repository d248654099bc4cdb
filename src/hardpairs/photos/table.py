"""The rows of an index, as columns that open without parsing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import mismatch
from hardpairs.data.npy_files import read_arrays
from hardpairs.data.strings import PackedStrings
from hardpairs.photos.scan import PhotoFile

NO_DIGEST = bytes(32)


@dataclass(frozen=True)
class Row:
    """One photo.

    Attributes:
        file: The file that holds it.
        digest: SHA-256 of the encoded image; zeros where it could not be read.
        note: Its caption, or the reason why it is unreadable.
    """

    file: PhotoFile
    digest: bytes
    note: str


@dataclass(frozen=True)
class Table:
    """Columns of N rows; the names of the columns are those of the files.

    Attributes:
        paths: Absolute path of each file or tar.
        keys: Key in the tar; empty for a file.
        notes: Captions in the table of embedded photos, reasons in that of unreadable files.
        offset: int64, shape (N,), as in ``PhotoFile``.
        size: int64, shape (N,), bytes.
        mtime_ns: int64, shape (N,), nanoseconds.
        digest: uint8, shape (N, 32), SHA-256 of the encoded images.
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
        """Return the table of some rows."""
        rows = list(rows)
        numbers = np.array([row.file[2:] for row in rows], np.int64).reshape(len(rows), 3)
        digest = np.frombuffer(b"".join(row.digest for row in rows), np.uint8)
        return cls(
            PackedStrings.pack([row.file.path for row in rows]),
            PackedStrings.pack([row.file.key for row in rows]),
            PackedStrings.pack([row.note for row in rows]),
            offset=numbers[:, 0],
            size=numbers[:, 1],
            mtime_ns=numbers[:, 2],
            digest=digest.reshape(len(rows), 32),
        )

    def __len__(self) -> int:
        return len(self.offset)

    def file(self, row: int) -> PhotoFile:
        """Return the file of a row."""
        numbers = (int(column[row]) for column in (self.offset, self.size, self.mtime_ns))
        return PhotoFile(self.paths[row], self.keys[row], *numbers)

    def files(self) -> Iterator[PhotoFile]:
        """Yield the files of all rows."""
        numbers = (column.tolist() for column in (self.offset, self.size, self.mtime_ns))
        return map(PhotoFile._make, zip(self.paths, self.keys, *numbers, strict=True))

    def columns(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Return plain arrays by name; a column of texts is its bytes and their offsets."""
        arrays = {}
        for field in fields(self):
            name, value = prefix + field.name, getattr(self, field.name)
            if isinstance(value, PackedStrings):
                arrays[f"{name}_data"], arrays[f"{name}_offsets"] = value.data, value.offsets
            else:
                arrays[name] = value
        return arrays

    @classmethod
    def from_columns(cls, arrays: Mapping[str, np.ndarray], prefix: str = "") -> Table:
        """Return the table of the arrays that ``columns`` returned.

        Raises:
            KeyError: A column is missing.
        """
        return cls(*(_column(arrays, prefix + field.name) for field in fields(cls)))

    def write(self, path: Path) -> None:
        """Write the table to a file."""
        with atomic_open(path) as file:
            np.savez(file, **self.columns())  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: Path) -> Table:
        """Read a table that ``write`` wrote.

        Raises:
            UserError: exit 4 for a file that is damaged or holds something else.
        """
        try:
            return cls.from_columns(read_arrays(path))
        except (OSError, ValueError, KeyError) as error:
            raise mismatch(
                f"the index is damaged: {error!r}",
                where=str(path),
                fix="delete the folder, and index again",
            ) from None


def _column(arrays: Mapping[str, np.ndarray], name: str) -> Any:
    if name in arrays:
        return arrays[name]
    return PackedStrings(arrays[f"{name}_data"], arrays[f"{name}_offsets"])
