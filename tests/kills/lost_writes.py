"""What a disk may hold after a crash: written data and changed names that nothing has flushed are lost, or are not.

The files of a folder are recorded before each operation of a command. After a crash, data is
surely there when its file was flushed (``fsync``) after it was written, and a new, changed or
removed name when the folder that has it was. Of everything else any part may be there, in any
order: the data as it was or as it is, cut off, or zeros of its length.
"""

from __future__ import annotations

import itertools
import os
import pickle
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kills.operations import Main, forked, watch

FOLDER = None
"""The content of a folder."""


@dataclass(frozen=True)
class Node:
    """A file or a folder.

    Attributes:
        number: Its inode: the same when it is renamed.
        content: The bytes of a file, ``FOLDER`` of a folder.
    """

    number: int
    content: bytes | None


Tree = dict[str, Node]
"""Files and folders by path below the parent of the watched folder, which is ``""``."""
Change = dict[tuple[int, str], int | None]
"""New inodes by folder and name, ``None`` of a removed name; they change together."""


@dataclass(frozen=True)
class Step:
    """The files before an operation.

    Attributes:
        tree: The files.
        flushed: The inode that the operation flushes to disk, if it is an fsync.
    """

    tree: Tree
    flushed: int | None = None


def read_tree(folder: Path) -> Tree:
    """Return a folder with its files and folders, and its parent."""
    found = {"": Node(folder.parent.stat().st_ino, FOLDER)}
    for path in sorted([folder, *folder.rglob("*")] if folder.exists() else []):
        content = FOLDER if path.is_dir() else path.read_bytes()
        found[str(path.relative_to(folder.parent))] = Node(path.stat().st_ino, content)
    return found


def write_tree(folder: Path, tree: Tree) -> None:
    """Make a folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, node in sorted(tree.items()):
        if node.content is None:
            (folder.parent / name).mkdir(exist_ok=True)
        else:
            (folder.parent / name).write_bytes(node.content)


def record(main: Main, folder: Path, log: Path) -> list[Step]:
    """Return the states of a folder before each operation of a command, and that at its end."""
    stored = log.with_name("steps")

    def run() -> int:
        steps: list[Step] = []

        def note(event: str, values: tuple[Any, ...]) -> None:
            flushed = os.fstat(values[0]).st_ino if event == "fsync" else None
            steps.append(Step(read_tree(folder), flushed))

        watch(note)
        main()
        steps.append(Step(read_tree(folder)))
        stored.write_bytes(pickle.dumps(list(steps)))
        return 0

    assert forked(run, log) == 0, log.read_text()
    steps: list[Step] = pickle.loads(stored.read_bytes())
    return steps


class Disk:
    """What is surely on the disk, and what may be.

    Args:
        tree: The files at first, all of them flushed.
    """

    def __init__(self, tree: Tree) -> None:
        self._root = tree[""].number
        self._names = _entries(tree)
        self._data = {node.number: node.content for node in tree.values()}
        self._seen = dict(self._data)
        self._pending: list[Change] = []

    def follow(self, step: Step, after: Tree) -> None:
        """Take an operation into account.

        Args:
            step: The operation.
            after: The files after it.
        """
        number = step.flushed
        if number in self._seen:
            self._data[number] = self._seen[number]
            for change in [one for one in self._pending if any(key[0] == number for key in one)]:
                _apply(self._names, change)
                self._pending.remove(change)
        old, new = _entries(step.tree), _entries(after)
        changed = {key: new.get(key) for key in {*old, *new} if old.get(key) != new.get(key)}
        if changed:
            self._pending.append(changed)
        self._seen |= {node.number: node.content for node in after.values()}

    def crashed(self, rng: random.Random) -> Tree:
        """Return files that a crash may leave; ``rng`` chooses."""
        names, share = dict(self._names), rng.choice((0.0, 0.5, 0.9, 1.0))
        for change in self._pending:
            if rng.random() < share:
                _apply(names, change)
        tree: Tree = {"": Node(self._root, FOLDER)}
        folders = [("", self._root)]
        while folders:
            path, folder = folders.pop()
            for (parent, name), number in names.items():
                if parent == folder and number is not None:
                    content = _torn(self._data.get(number, b""), self._seen[number], rng)
                    below = f"{path}/{name}" if path else name
                    tree[below] = Node(number, content)
                    if content is FOLDER:
                        folders.append((below, number))
        return tree


def _torn(flushed: bytes | None, seen: bytes | None, rng: random.Random) -> bytes | None:
    """Return what a crash may leave of a file."""
    if seen is FOLDER or flushed is FOLDER or flushed == seen:
        return seen
    return rng.choice((flushed, seen, seen[: rng.randrange(len(seen) + 1)], bytes(len(seen))))


def _entries(tree: Tree) -> dict[tuple[int, str], int | None]:
    """Return the inode of each name in each folder."""
    found: dict[tuple[int, str], int | None] = {}
    for path, node in tree.items():
        folder, _, name = path.rpartition("/")
        if path:
            found[tree[folder].number, name] = node.number
    return found


def _apply(names: dict[tuple[int, str], int | None], change: Change) -> None:
    for key, number in change.items():
        if number is None:
            names.pop(key, None)
        else:
            names[key] = number


def crashes(steps: list[Step], moment: int, count: int, rng: random.Random) -> list[Tree]:
    """Return files that crashes before an operation may leave.

    Args:
        steps: From ``record``.
        moment: The operation; the last one is the end of the command.
        count: Number of crashes.
        rng: Chooses among what is possible.
    """
    disk = Disk(steps[0].tree)
    for step, following in itertools.pairwise(steps[: moment + 1]):
        disk.follow(step, following.tree)
    return [disk.crashed(rng) for _ in range(count)]
