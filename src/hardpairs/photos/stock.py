"""Embeddings that are there already, of the last index and of unfinished work, found by place or by content."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import atomic_open, write_json
from hardpairs.core.errors import UserError
from hardpairs.photos.scan import Place
from hardpairs.photos.table import Table

FOLDER = "unfinished"
BLOCK = 4096
Where = tuple[int, int]
"""(part, row in it)."""


class Stock:
    """Parts: tables with their embeddings, and unreadable files. What is added last wins."""

    def __init__(self) -> None:
        self.parts: list[tuple[Table, np.ndarray]] = []
        self.by_place: dict[tuple[str, str], tuple[Place, Where]] = {}
        self.by_digest: dict[bytes, Where] = {}
        self.unread: dict[tuple[str, str], tuple[Place, str]] = {}

    def add(self, table: Table, vectors: np.ndarray, unread: Table) -> None:
        part = len(self.parts)
        self.parts.append((table, vectors))
        for row, place in enumerate(table.places()):
            self.by_place[place[:2]] = place, (part, row)
            self.by_digest.setdefault(table.digest[row].tobytes(), (part, row))
        for place, reason in zip(unread.places(), unread.notes, strict=True):
            self.unread[place[:2]] = place, reason

    def vectors(self, wanted: list[Where]) -> Iterator[np.ndarray]:
        """The embeddings of some rows, in order, a block at a time."""
        for start in range(0, len(wanted), BLOCK):
            block = np.array(wanted[start : start + BLOCK], np.int64)
            out = np.empty((len(block), self.width), np.float32)
            for part in np.unique(block[:, 0]):
                rows = block[:, 0] == part
                out[rows] = self.parts[part][1][block[rows, 1]]
            yield out

    @property
    def width(self) -> int:
        return next((vectors.shape[1] for _, vectors in self.parts if len(vectors)), 0)


class Journal:
    """Finished batches on disk, so that no kill costs more than a few of them: ``INDEX/unfinished/00000.npz``, ..."""

    def __init__(self, folder: Path, model: dict[str, Any]) -> None:
        self.folder, self.model = folder / FOLDER, model

    def load_into(self, stock: Stock) -> bool:
        """Adds what an earlier run with this model left, and whether it left something; of another model, it is removed."""
        if not self.folder.exists():
            return False
        try:
            theirs = json.loads((self.folder / "model.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            theirs = None
        if theirs != self.model:
            self.remove()
            return False
        for path in sorted(self.folder.glob("*.npz")):
            with contextlib.suppress(UserError):  # a torn one is made again
                stock.add(*self._read(path))
        return True

    def append(self, table: Table, vectors: np.ndarray, unread: Table) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        number = self._next_number()
        if number == 0 or not (self.folder / "model.json").exists():
            write_json(self.folder / "model.json", self.model)
        unread.write(self.folder / f"{number:05d}.unread")
        with atomic_open(
            self.folder / f"{number:05d}.npz"
        ) as file:  # last: its name says that both are there
            np.savez(file, **table.columns(), vectors=vectors)

    def _read(self, path: Path) -> tuple[Table, np.ndarray, Table]:
        table, unread = Table.read(path), Table.read(path.with_suffix(".unread"))
        with np.load(path, allow_pickle=False) as arrays:
            return table, arrays["vectors"], unread

    def _next_number(self) -> int:
        return max((int(path.stem) for path in self.folder.glob("*.npz")), default=-1) + 1

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
