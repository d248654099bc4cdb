"""What a disk may hold after a crash: written data and changed names that nothing has flushed are lost, or are not.

Files are recorded at each operation of a command. Of a crash between two of them, data counts as written when
its file was flushed (``fsync``), and a new, changed or removed name when its folder was. Of everything else any
part may be there, in any order: the data as it was, as it is, cut off, or zeros of its length.
"""

from __future__ import annotations

import itertools
import os
import pickle
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kills.operations import forked, watch

Files = dict[str, tuple[int, bytes]]
"""Number and content of the file of each name; a folder has the content ``FOLDER``."""
FOLDER = b"\0folder"


@dataclass(frozen=True)
class Step:
    """An operation, and the files before it.

    Attributes:
        event: An audit event, or ``fsync``.
        paths: Names below the watched folder; those of others are empty.
        files: The files before it.
    """

    event: str
    paths: tuple[str, ...]
    files: Files


def read_files(folder: Path) -> Files:
    """Return the files of a folder, its folders included."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_ino,
            FOLDER if path.is_dir() else path.read_bytes(),
        )
        for path in sorted(folder.rglob("*"))
    }


def write_files(folder: Path, files: Files) -> None:
    """Make a folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, (_, content) in sorted(files.items()):
        path = folder / name
        if content == FOLDER:
            path.mkdir(parents=True, exist_ok=True)
        elif path.parent.is_dir():  # a file of a folder that was lost is lost, too
            path.write_bytes(content)


def record(main: Callable[[], Any], folder: Path, log: Path) -> list[Step]:
    """Return the operations of a command below a folder, and one more for its end."""
    stored = log.with_name("steps")

    def name_of(path: object) -> str:
        whole = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]
        inside = os.path.relpath(whole, folder)
        return "" if inside.startswith("..") else inside

    def run() -> int:
        steps: list[Step] = []

        def note(event: str, values: tuple[Any, ...]) -> None:
            if event == "fsync":
                values = (os.readlink(f"/proc/self/fd/{values[0]}"),)
            paths = values[:2] if event == "os.rename" else values[:1]
            if any(names := tuple(map(name_of, paths))):
                steps.append(Step(event, names, read_files(folder)))

        watch(note)
        main()
        steps.append(Step("end", (), read_files(folder)))
        whole = list(steps)
        stored.write_bytes(pickle.dumps(whole))
        return 0

    assert forked(run, log) == 0, log.read_text()
    return pickle.loads(stored.read_bytes())


@dataclass
class Disk:
    """What is on the disk for sure, and what may be.

    Attributes:
        names: The file of each flushed name.
        data: The flushed content of each file.
        pending: Changes of names that are not flushed: their folder, names to remove, and the
            file of a new name.
    """

    names: dict[str, int]
    data: dict[int, bytes]
    pending: list[tuple[str, tuple[str, ...], str, int]] = field(default_factory=list)

    def follow(self, step: Step, after: Files) -> None:
        """Take an operation into account.

        Args:
            step: The operation.
            after: The files after it.
        """
        name = step.paths[-1] if step.paths else ""
        folder = os.path.dirname(name)
        if step.event == "fsync" and name in step.files and step.files[name][1] != FOLDER:
            self.data[step.files[name][0]] = step.files[name][1]
        elif step.event == "fsync":
            inside = "" if name == "." else name
            self._flush(inside)
        elif step.event == "os.rename" and name in after:
            self.pending.append((folder, step.paths[:1], name, after[name][0]))
        elif step.event in ("os.remove", "os.rmdir") and name not in after:
            self.pending.append((folder, (name,), "", 0))
        elif name in after and name not in step.files:
            self.pending.append((folder, (), name, after[name][0]))

    def _flush(self, folder: str) -> None:
        for change in [change for change in self.pending if change[0] == folder]:
            _change(self.names, change)
            self.pending.remove(change)

    def crashed(self, now: Files, rng: random.Random) -> Files:
        """Return files that a crash may leave.

        Args:
            now: The files that programs saw before it.
            rng: Chooses.
        """
        names = dict(self.names)
        share = rng.choice((0, 0.5, 1))
        for change in self.pending:
            if rng.random() < share:
                _change(names, change)
        contents = {number: content for number, content in now.values()}
        files = {}
        for name, number in names.items():
            flushed = self.data.get(number, b"")
            seen = contents.get(number, flushed)
            if FOLDER in (seen, flushed) or seen == flushed:
                files[name] = number, seen
            else:
                cut = rng.randrange(len(seen) + 1)
                files[name] = number, rng.choice((flushed, seen, seen[:cut], bytes(len(seen))))
        return files


def _change(names: dict[str, int], change: tuple[str, tuple[str, ...], str, int]) -> None:
    _, removed, new, number = change
    for name in removed:
        names.pop(name, None)
    if new:
        names[new] = number


def crash(steps: list[Step], moment: int, rng: random.Random) -> Files:
    """Return files that a crash before an operation may leave.

    Args:
        steps: From ``record``.
        moment: The operation; the last one is the end of the command.
        rng: Chooses among what is possible.
    """
    first = steps[0].files
    disk = Disk(
        {name: number for name, (number, _) in first.items()},
        {number: content for number, content in first.values()},
    )
    for step, following in itertools.pairwise(steps[: moment + 1]):
        disk.follow(step, following.files)
    return disk.crashed(steps[moment].files, rng)
