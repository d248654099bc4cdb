"""Progress that survives a kill: finished pieces of some work in a folder.

``Progress`` keeps arrays under names, each written whole or not at all, and the recipe that they
follow from. The same command finds the pieces of a killed run and makes the missing ones; the
folder is removed when the work's output is complete.
``check_recipe`` alone serves work whose finished pieces are not arrays.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hardpairs.core import shared_files
from hardpairs.core.atomic import atomic_open, make_folder, write_json
from hardpairs.core.errors import UserError, mismatch
from hardpairs.core.interrupts import goes_on
from hardpairs.core.npy import write_header
from hardpairs.core.parse import parse_json
from hardpairs.core.temporary import sweep

if TYPE_CHECKING:
    from upath import UPath

    from hardpairs.core.remote import FilePath

RECIPE = "key.json"
PIECES = "[!.]*.npz"
COMMIT_SECONDS = 30.0
FILLED_AT_ONCE = 1 << 20
"""Numbers of a map that are written together."""
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


class Progress:
    """Finished pieces of some work: named groups of arrays in a folder.

    Several processes may share a folder. One of them, the ``owner``, calls ``begin`` before the
    others save; afterwards each saves pieces of its own names.

    Args:
        folder: Made when the first piece is saved. Arrays without maps may be behind a URL, as
            ``remote_writing.output_folder`` returns it.
        recipe: JSON values that the pieces follow from, or a function that returns them; it is
            called once, when the recipe is first needed.
        kind: What the work makes, for messages.
        optional: Names in the recipe that a folder of an earlier version may lack.
        every: Seconds between commits, for ``due``.
        owner: Whether this process writes the recipe and removes the folder.

    Example:
        >>> progress = Progress(Path("out/.unfinished"), {"seed": 0}, kind="embeddings")
        >>> progress.begin()
        >>> for number in range(10):
        ...     if not progress.has(f"part_{number}"):
        ...         progress.save(f"part_{number}", rows=make(number))
        >>> progress.remove()
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | UPath,
        recipe: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        *,
        kind: str = "work",
        optional: Collection[str] = (),
        every: float = COMMIT_SECONDS,
        owner: bool = True,
    ) -> None:
        self.folder: FilePath = folder if shared_files.is_remote(folder) else Path(folder)
        self.kind, self.every, self.owner = kind, every, owner
        self._recipe, self._optional = recipe, optional
        self._claimed, self._committed = False, time.monotonic()

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe as JSON reads it back."""
        if callable(self._recipe):
            self._recipe = self._recipe()
        return _as_json(self._recipe)

    def begin(self, *, discard: bool = False) -> bool:
        """Take over what a killed run left, and remove its temporary files.

        Args:
            discard: Remove pieces of another recipe, with a message, instead of refusing them.

        Returns:
            Whether the folder holds finished pieces.

        Raises:
            UserError: exit 4 for pieces of another recipe.
        """
        if not self.owner:
            return False
        sweep(self.folder)
        names = self.differing()
        if names and discard:
            print(
                f"discarding unfinished {self.kind} in {self.folder}: other {', '.join(names)}",
                file=sys.stderr,
            )
            self._discard()
            return False
        if names:
            raise recipe_mismatch(f"unfinished {self.kind}", self.folder, names)
        self._claimed = shared_files.exists(self.folder / RECIPE)
        if not self._holds_pieces():
            return False
        goes_on()
        print(f"going on with the unfinished {self.kind} in {self.folder}", file=sys.stderr)
        return True

    def differing(self) -> list[str]:
        """Return the names in which the folder's recipe differs from ours; none without one."""
        theirs = read_recipe(self.folder / RECIPE)
        if theirs is None:
            return sorted(self.recipe) if self._holds_pieces() else []
        return differing(theirs, self.recipe, self._optional)

    def claim(self) -> None:
        """Write the recipe into the folder, once."""
        if self.owner and not self._claimed:
            write_json(self.folder / RECIPE, self.recipe)
            self._claimed = True

    def due(self) -> bool:
        """Return whether ``every`` seconds have passed since the last commit."""
        return time.monotonic() - self._committed >= self.every

    def save(self, name: str, **arrays: np.ndarray) -> None:
        """Commit arrays under a name, in place of what was there."""
        self.claim()
        with atomic_open(self._path(name)) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        goes_on()
        self._committed = time.monotonic()

    def names(self) -> Iterator[str]:
        """Yield the names of the committed pieces, sorted."""
        return (path.stem for path in shared_files.files_in(self.folder, PIECES))

    def has(self, name: str) -> bool:
        """Return whether a piece of this name is committed."""
        return shared_files.exists(self._path(name))

    def load(self, name: str, only: Iterable[str] | None = None) -> dict[str, np.ndarray] | None:
        """Return the arrays that are committed under a name, or ``None``.

        Args:
            name: Name of the piece.
            only: Names of the arrays to read; by default all.

        Raises:
            UserError: exit 4 when the file is damaged; exit 3 for a server that does not answer.
        """
        path = self._path(name)
        if not shared_files.exists(path):
            return None
        try:
            with (
                shared_files.open_to_read(path) as file,
                np.load(file, allow_pickle=False) as arrays,
            ):
                return {key: arrays[key] for key in (arrays.files if only is None else only)}
        except UserError:
            raise
        except Exception as error:  # zip, zlib and NumPy have a dozen
            raise mismatch(
                f"damaged unfinished {self.kind}: {error}",
                where=str(path),
                fix="delete this file; the same command makes it again",
            ) from None

    def part(self, name: str) -> Progress:
        """Return the progress of a part of the work, in a folder of its own inside this one.

        Call ``claim`` before, so that ``begin`` knows the recipe of all parts.
        """
        return Progress(
            self.folder / name,
            lambda: self.recipe,
            kind=self.kind,
            optional=self._optional,
            every=self.every,
            owner=self.owner,
        )

    def load_others(self, name: str, only: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Return the arrays that another process is known to have committed.

        Args:
            name: Name of the piece.
            only: Names of the arrays to read; by default all.

        Raises:
            UserError: exit 4 when the piece is missing or damaged.
        """
        arrays = self.load(name, only)
        if arrays is None:
            raise mismatch(
                f"unfinished {self.kind} of another process are not there",
                where=str(self._path(name)),
                why="every process needs the same folder, and nobody else may change it",
                fix="start the same command again; it goes on from the finished work",
            )
        return arrays

    def forget(self, name: str) -> None:
        """Remove the piece of a name, if there is one."""
        shared_files.remove(self._path(name))

    def create_map(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        """Create the file of an array that processes share by mapping it."""
        self.claim()
        path = self._map_path(name)
        make_folder(path.parent)
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

    def create_filled_map(
        self, name: str, shape: tuple[int, ...], dtype: Any, value: float
    ) -> np.ndarray:
        """Create and map the file of an array whose numbers are all equal at first.

        It has its room on the disk from then on: a full disk is told here, and does not end the
        process where it writes into the map.

        Args:
            name: Name of the map, as in ``create_map``.
            shape: Of the array.
            dtype: The kind of numbers.
            value: The number.

        Raises:
            DiskFull: There is no room for it.
        """
        self.claim()
        count = math.prod(shape)
        block = np.full(min(count, FILLED_AT_ONCE), value, dtype)
        with atomic_open(self._map_path(name), count * block.itemsize) as file:
            write_header(file, shape, dtype)
            for start in range(0, count, FILLED_AT_ONCE):
                file.write(block[: count - start].data)
        return self.map(name)

    def map(self, name: str) -> np.ndarray:
        """Return the array of ``create_map``, shared with all processes that map it."""
        array: np.ndarray = np.load(self._map_path(name), mmap_mode="r+", allow_pickle=False)
        return array

    def remove(self) -> None:
        """Remove the folder, once the output of the work is complete."""
        if self.owner:
            with contextlib.suppress(OSError, UserError):
                self._discard()

    def _discard(self) -> None:
        """Remove the folder; its recipe first, without which nothing in it is read again."""
        shared_files.remove(self.folder / RECIPE)
        shared_files.remove_folder(self.folder)

    def _holds_pieces(self) -> bool:
        """Return whether pieces are committed here, or in folders of parts."""
        return bool(shared_files.files_in(self.folder, f"**/{PIECES}"))

    def _path(self, name: str) -> FilePath:
        return self.folder / f"{name}.npz"

    def _map_path(self, name: str) -> Path:
        assert not shared_files.is_remote(self.folder), "only local files are mapped"
        return self.folder / f"{name}.npy"


def made_once(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array in a file, memory-mapped; make it when the file does not exist.

    Processes of one machine wait for the first of them to make it. In a folder that cannot be
    written to, each process makes its own.

    Args:
        path: An ``.npy`` file; its name must tell arrays of other recipes apart.
        make: Returns the array.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        lock = os.open(path.parent, os.O_RDONLY)
    except OSError:
        return make()
    try:
        if not path.is_file():
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            made = make()
            try:
                with atomic_open(path) as file:
                    np.save(file, made)
            except OSError as error:
                if error.errno not in _NOT_WRITABLE:
                    raise
                return made
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    finally:
        os.close(lock)  # which ends the lock


def check_recipe(path: FilePath, recipe: Mapping[str, Any], *, kind: str) -> bool:
    """Return whether a recipe file exists; refuse one of another recipe.

    Args:
        path: A JSON file, as ``write_json`` writes it.
        recipe: JSON values.
        kind: What was made by the recipe, for the message.

    Raises:
        UserError: exit 4, naming what differs.
    """
    theirs = read_recipe(path)
    names = differing(theirs, recipe) if theirs is not None else []
    if names:
        raise recipe_mismatch(kind, path, names)
    return theirs is not None


def read_recipe(path: FilePath) -> dict[str, Any] | None:
    """Return the recipe in a file, ``{}`` for a damaged one, or ``None`` where there is no file."""
    try:
        recipe = parse_json(shared_files.read(path).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return {}
    return recipe if isinstance(recipe, dict) else {}


def differing(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], optional: Collection[str] = ()
) -> list[str]:
    """Return the names in which two recipes differ, sorted.

    Args:
        theirs: A recipe as JSON reads it.
        ours: JSON values.
        optional: Names that ``theirs`` may lack.
    """
    ours = _as_json(ours)
    lacking = {name for name in optional if name not in theirs}
    names = ({*theirs} | {*ours}) - lacking
    return sorted(name for name in names if theirs.get(name) != ours.get(name))


def recipe_mismatch(kind: str, path: FilePath, names: list[str]) -> Exception:
    """Return the error of a folder that was begun by another recipe (exit 4).

    Args:
        kind: What the folder holds.
        path: The folder, or the file of its recipe.
        names: What differs.
    """
    verb = "differs" if len(names) == 1 else "differ"
    return mismatch(
        f"the folder holds {kind} of another kind: {', '.join(names)} {verb}",
        where=str(path),
        fix="give the same data and options, or another output folder, or delete this one",
    )


def _as_json(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(dict(recipe))))
