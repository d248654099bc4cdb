"""An index on disk: unit embeddings that are memory-mapped, a table of what they are of, and a manifest that is written last.

    INDEX/embeddings-3.npy   (N, D) float32, unit rows
    INDEX/photos-3.npz       row i says what embedding i is of
    INDEX/unread-3.npz       files that cannot be read, with reasons
    INDEX/manifest.json      names these files, the model, and what was indexed

Each change writes files under a new number; the manifest that names them is what makes it so. A reader keeps the files it has mapped.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import UserError, bad_input, mismatch, usage
from hardpairs.data.manifest import NAME, read_manifest, write_manifest
from hardpairs.photos.table import Table

KIND = "photo_index"
MODEL_KEYS = ("model", "weights", "preprocess")
_FILE = re.compile(r"(embeddings-\d+\.npy|(photos|unread)-\d+\.npz)|\..*\.tmp")


@dataclass(frozen=True)
class Index:
    """What one manifest names. Made by ``Index.open``.

    Attributes:
        embeddings: (N, D) float32, memory-mapped, unit rows.
        photos: N rows; ``unread``: files without an embedding.
    """

    folder: Path
    manifest: dict[str, Any]
    embeddings: np.ndarray
    photos: Table
    unread: Table

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Index:
        """
        Raises:
            UserError: exit 2 when there is none, exit 3 when the folder holds something else of ours, exit 4 when it is damaged.
        """
        folder = Path(folder)
        if not (folder / NAME).is_file():
            raise usage(
                "no such index",
                where=str(folder),
                fix="make it: python -m tools.photo_search index PHOTOS --out INDEX",
            )
        while True:
            before = _manifest_bytes(folder)
            try:
                return cls._open(folder)
            except (UserError, OSError):
                if _manifest_bytes(folder) == before:
                    raise  # else a new generation came, and took away the files that were just to be opened

    @classmethod
    def _open(cls, folder: Path) -> Index:
        manifest = read_manifest(folder)
        if manifest.get("kind") != KIND:
            raise bad_input(
                "not an index of photographs",
                where=str(folder),
                fix="python -m tools.photo_search index PHOTOS --out INDEX",
            )
        number = manifest["generation"]
        photos, unread = (
            Table.read(folder / f"{name}-{number}.npz") for name in ("photos", "unread")
        )
        embeddings = np.load(folder / f"embeddings-{number}.npy", mmap_mode="r", allow_pickle=False)
        if len(embeddings) != len(photos):
            raise mismatch(
                "the index is damaged", where=str(folder), fix="delete the folder, and index again"
            )
        return cls(folder, manifest, embeddings, photos, unread)

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def model(self) -> dict[str, Any]:
        """What identifies the model, as in ``hardpairs.models.load.Encoder.description``."""
        return {key: self.manifest[key] for key in MODEL_KEYS}

    @cached_property
    def ids(self) -> list[str]:
        """A picture's id by row: 16 hex digits of its content's hash, the same in every index; equal pictures have equal ids."""
        return [digest.tobytes().hex() for digest in self.photos.digest[:, :8]]

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The first row of each id."""
        return {name: row for row, name in reversed(list(enumerate(self.ids)))}


def _manifest_bytes(folder: Path) -> bytes:
    with contextlib.suppress(OSError):
        return (folder / NAME).read_bytes()
    return b""


def generation(folder: Path) -> int:
    """The number of the index that is there, 0 where there is none."""
    return int(read_manifest(folder)["generation"]) if (folder / NAME).exists() else 0


def write_index(
    folder: Path,
    blocks: Iterable[np.ndarray],
    count: int,
    width: int,
    photos: Table,
    unread: Table,
    content: dict[str, Any],
) -> None:
    """Writes a new generation and removes the files of others.

    Args:
        blocks: (b, width) float32 unit rows that together are ``count``; never all in memory.
        content: of the manifest.
    """
    number = generation(folder) + 1
    names = [f"embeddings-{number}.npy", f"photos-{number}.npz", f"unread-{number}.npz"]
    with atomic_open(folder / names[0]) as file:
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)),
            "fortran_order": False,
            "shape": (count, width),
        }
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, np.float32).data)
    photos.write(folder / names[1])
    unread.write(folder / names[2])
    write_manifest(
        folder,
        {"kind": KIND, "generation": number, "photos": count, "unread": len(unread), **content},
        names,
    )
    for path in folder.iterdir():
        if _FILE.fullmatch(path.name) and path.name not in names:
            with contextlib.suppress(OSError):
                path.unlink()


def check_model(index: Index, description: dict[str, Any]) -> None:
    """Refuses (exit 4) a model that is not the one the index was made by: its vectors mean something else."""
    theirs = {key: description[key] for key in MODEL_KEYS}
    if theirs != index.model:
        differ = [key for key in MODEL_KEYS if theirs[key] != index.model[key]]
        raise mismatch(
            f"the index was made by another model (other {' and '.join(differ)})",
            where=f"{index.folder}: {_named(index.model)}; given: {_named(theirs)}",
            why="its vectors mean something else",
            fix="give the model it was made by (--model, --pretrained), or make an index of this one in another folder (--out of index, --index of the demonstration)",
        )


def _named(model: dict[str, Any]) -> str:
    return f"{model['model']}, {str(model['weights'])[:23]}"
