"""Unfinished work on disk, so that a killed search goes on where it was.

A folder holds a key (what the work belongs to) and named groups of arrays, each written whole or not at all. Work of other inputs or options
is discarded with a message, never mixed in. The folder goes when the output is complete.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import atomic_open, write_json
from hardpairs.core.errors import mismatch

COMMIT_SECONDS = 30.0


class Work:
    """A folder of committed arrays.

    Args:
        folder: made when something is first saved.
        key: called once, when it is needed: JSON values that say what the work belongs to (hashing large inputs takes seconds).
        every: seconds between commits of a search.
        writer: this process keeps the folder's key (rank 0); others only save arrays.
    """

    def __init__(
        self,
        folder: Path,
        key: Callable[[], dict[str, Any]],
        *,
        every: float = COMMIT_SECONDS,
        writer: bool = True,
    ) -> None:
        self.folder, self.every, self.writer = folder, every, writer
        self._key, self._claimed, self._last = key, False, time.monotonic()
        if writer and folder.exists():
            self._check()

    def _check(self) -> None:
        try:
            there = json.loads((self.folder / "key.json").read_text())
        except (OSError, ValueError):
            there = {}
        ours = json.loads(json.dumps(self._key()))
        differing = sorted(name for name in {*there, *ours} if there.get(name) != ours.get(name))
        if differing:
            print(
                f"discarding unfinished work in {self.folder}: other {', '.join(differing)}",
                file=sys.stderr,
            )
            shutil.rmtree(self.folder)
        else:
            print(f"going on with the unfinished work in {self.folder}", file=sys.stderr)
            self._claimed = True

    def claim(self) -> None:
        """Makes the folder ours, with the key in it."""
        if self.writer and not self._claimed:
            write_json(self.folder / "key.json", self._key())
            self._claimed = True

    def due(self) -> bool:
        return time.monotonic() - self._last >= self.every

    def save(self, name: str, **arrays: np.ndarray) -> None:
        """Commits arrays under a name, in place of what was there."""
        self.claim()
        with atomic_open(self.folder / f"{name}.npz") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        self._last = time.monotonic()

    def has(self, name: str) -> bool:
        return (self.folder / f"{name}.npz").exists()

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """What was saved under a name, or ``None``.

        Raises:
            UserError: exit 4 when the file is damaged.
        """
        path = self.folder / f"{name}.npz"
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise mismatch(
                f"damaged unfinished work: {error}",
                where=str(path),
                fix=f"delete {self.folder}; it is done again",
            ) from None

    def forget(self, name: str) -> None:
        (self.folder / f"{name}.npz").unlink(missing_ok=True)

    def make_map(self, name: str, shape: tuple[int, ...], dtype: type) -> None:
        """Makes the file of an array, to be mapped."""
        self.claim()
        np.lib.format.open_memmap(self._map_path(name), mode="w+", dtype=dtype, shape=shape)

    def map(self, name: str) -> np.ndarray:
        """The array in a file, shared with whoever maps it, too."""
        return np.load(self._map_path(name), mmap_mode="r+", allow_pickle=False)

    def _map_path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def remove(self) -> None:
        if self.writer:
            shutil.rmtree(self.folder, ignore_errors=True)
