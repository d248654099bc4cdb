"""An index on disk: memory-mapped unit embeddings, a table of their photos, and a manifest.

    INDEX/embeddings-3.npy   (N, D) float32, unit rows
    INDEX/photos-3.npz       row i describes the photo of embedding i
    INDEX/unread-3.npz       unreadable files, with reasons
    INDEX/manifest.json      names these files, the model, and what was indexed

Each change writes files under a new number. The manifest is written last and makes them valid. A
reader keeps the files that it has mapped.
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
from hardpairs.core.errors import Exit, UserError, bad_input, mismatch, usage
from hardpairs.core.npy import write_header
from hardpairs.data.manifest import NAME, read_manifest, write_manifest
from hardpairs.data.npy_files import map_array
from hardpairs.photos.table import Table

KIND = "photo_index"
MODEL_KEYS = ("model", "weights", "preprocess")
KEYS = ("generation", *MODEL_KEYS)
"""What each manifest says."""
_FILE = re.compile(r"(embeddings-\d+\.npy|(photos|unread)-\d+\.npz)|\..*\.tmp")
AGAIN = "delete the folder, and index again"


@dataclass(frozen=True)
class Index:
    """The content of one manifest, opened by ``Index.open``, which verifies all files.

    Attributes:
        folder: Where it was opened.
        manifest: The content of ``manifest.json``.
        embeddings: (N, D) float32, memory-mapped, unit rows.
        photos: The N photos.
        unreadable: Files without an embedding.
    """

    folder: Path
    manifest: dict[str, Any]
    embeddings: np.ndarray
    photos: Table
    unreadable: Table

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Index:
        """Open an index.

        Raises:
            UserError: exit 2 when the folder holds none, exit 3 when it holds another output of
                the project, exit 4 when the index is damaged.
        """
        folder = Path(folder)
        if not (folder / NAME).is_file():
            raise usage("no such index", where=str(folder), fix="make an index of the photos first")
        while True:
            before = _manifest_bytes(folder)
            try:
                return cls._open(folder)
            except (UserError, OSError):
                # A changed manifest means that a new generation has replaced the files.
                if _manifest_bytes(folder) == before:
                    raise

    @classmethod
    def _open(cls, folder: Path) -> Index:
        try:
            manifest = read_manifest(folder, verify=True)
        except UserError as error:
            if error.code != Exit.MISMATCH:
                raise
            raise mismatch(error.what, where=error.where, fix=AGAIN) from None
        if manifest.get("kind") != KIND:
            message, fix = "not an index of photos", "make an index of the photos first"
            raise bad_input(message, where=str(folder), fix=fix)
        absent = [key for key in KEYS if key not in manifest]
        if absent:
            message = f"the manifest does not say {', '.join(absent)}"
            raise mismatch(message, where=str(folder / NAME), fix=AGAIN)
        number = manifest["generation"]
        photos = Table.read(folder / f"photos-{number}.npz")
        unreadable = Table.read(folder / f"unread-{number}.npz")
        path = folder / f"embeddings-{number}.npy"
        try:
            embeddings = map_array(path)
        except ValueError as error:
            raise mismatch(f"the index is damaged: {error}", where=str(path), fix=AGAIN) from None
        if embeddings.ndim != 2 or len(embeddings) != len(photos):
            raise mismatch("the index is damaged", where=str(path), fix=AGAIN)
        return cls(folder, manifest, embeddings, photos, unreadable)

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def model(self) -> dict[str, Any]:
        """The identity of the model, as in ``hardpairs.models.load.Encoder.description``."""
        return {key: self.manifest[key] for key in MODEL_KEYS}

    @cached_property
    def ids(self) -> list[str]:
        """Id of each row: 16 hex digits of its content's hash.

        A photo has the same id in every index; equal images have equal ids.
        """
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
    """Return the number of the index in a folder, 0 where there is none."""
    return int(read_manifest(folder)["generation"]) if (folder / NAME).exists() else 0


def is_index_file(name: str) -> bool:
    """Return whether a name is that of a file of some generation, or of one that was not finished.

    The manifest is another matter: it makes the files an index.
    """
    return _FILE.fullmatch(name) is not None


def write_index(
    folder: Path,
    blocks: Iterable[np.ndarray],
    shape: tuple[int, int],
    photos: Table,
    unreadable: Table,
    content: dict[str, Any],
) -> None:
    """Write a new generation, and remove the files of earlier ones.

    Args:
        folder: Folder of the index.
        blocks: (b, D) float32 unit rows, N together. They are never all in memory.
        shape: (N, D).
        photos: The N photos.
        unreadable: Files without an embedding.
        content: Further content of the manifest.
    """
    number = generation(folder) + 1
    names = [f"embeddings-{number}.npy", f"photos-{number}.npz", f"unread-{number}.npz"]
    with atomic_open(folder / names[0]) as file:
        write_header(file, shape, np.float32)
        for block in blocks:
            file.write(np.ascontiguousarray(block, np.float32).data)
    photos.write(folder / names[1])
    unreadable.write(folder / names[2])
    counts = {"photos": len(photos), "unread": len(unreadable)}
    write_manifest(folder, {"kind": KIND, "generation": number, **counts, **content}, names)
    for path in folder.iterdir():
        if is_index_file(path.name) and path.name not in names:
            with contextlib.suppress(OSError):
                path.unlink()


def check_model(index: Index, description: dict[str, Any]) -> None:
    """Raise an error for a model other than the one that made the index.

    Args:
        index: The index.
        description: As ``hardpairs.models.load.Encoder.description``.

    Raises:
        UserError: exit 4.
    """
    given = {key: description[key] for key in MODEL_KEYS}
    if given != index.model:
        differing = [key for key in MODEL_KEYS if given[key] != index.model[key]]
        raise mismatch(
            f"the index was made by another model (other {' and '.join(differing)})",
            where=f"{index.folder}: {_short(index.model)}; given: {_short(given)}",
            why="vectors of two models cannot be compared",
            fix="give the model that made the index (`model`, `pretrained`), or make an index of "
            "this model in another folder (`out`)",
        )


def _short(model: dict[str, Any]) -> str:
    return f"{model['model']}, {str(model['weights'])[:23]}"
