"""Temporary files are removed once their writer is dead, and not before."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from hardpairs.core import temporary
from hardpairs.core.atomic import atomic_open, write_text
from hardpairs.core.temporary import sweep


def forked(main: Callable[[], object]) -> int:
    """How a fork of this process ended that ran a function."""
    child = os.fork()
    if not child:
        code = 1
        try:
            main()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_writer(path: Path, before: Callable[[], object] = int) -> Path:
    """The temporary file of a process that was killed while it wrote a file."""

    def main() -> None:
        with atomic_open(path) as file:
            file.write(b"torn")
            file.flush()
            before()
            os.kill(os.getpid(), signal.SIGKILL)

    known = {*path.parent.glob(".*.tmp")}
    assert forked(main) == -signal.SIGKILL
    (left,) = {*path.parent.glob(".*.tmp")} - known
    assert left.read_bytes() == b"torn"
    return left


def test_the_next_writer_removes_the_files_of_killed_ones(memory_folder):
    for name in ("a.json", "a.json", "b.csv"):
        killed_writer(memory_folder / name)
    foreign = {".notes.tmp", ".a.json.abcdefgh.tmp", "b.csv.1.tmp"}
    for name in foreign:
        (memory_folder / name).touch()
    write_text(memory_folder / "a.json", "whole")
    assert {*os.listdir(memory_folder)} == {"a.json", *foreign}


def test_a_living_writer_keeps_its_file_beside_another_one_of_the_same_target(memory_folder):
    path = memory_folder / "a"
    with atomic_open(path) as file:
        file.write(b"ours")
        killed_writer(path)
        assert forked(lambda: write_text(path, "theirs")) == 0
        assert path.read_text() == "theirs" and len(os.listdir(memory_folder)) == 2
    assert path.read_text() == "ours" and os.listdir(memory_folder) == ["a"]


def test_writers_of_one_target_at_once_all_end(memory_folder, monkeypatch):
    """Each looks through the folder before each file, and some are killed."""
    monkeypatch.setattr(temporary, "SWEEP_SECONDS", 0.0)

    def write() -> None:
        for number in range(60):
            write_text(memory_folder / f"{number % 2}", f"{number}\n" * 100)

    children = []
    for number in range(6):
        children.append(os.fork())
        if not children[-1]:
            code = 1
            try:
                write()
                code = 0
            finally:
                os._exit(code)
        if number >= 4:
            os.kill(children[-1], signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes[:4] == [0] * 4
    write_text(memory_folder / "0", "end")
    assert sorted(os.listdir(memory_folder)) == ["0", "1"]


def test_a_file_that_is_taken_before_it_is_locked_is_made_again(memory_folder, monkeypatch):
    made = []

    def make(**where: object) -> tuple[int, str]:
        made.append(real(**where))
        if len(made) == 1:
            assert forked(lambda: sweep(memory_folder)) == 0
            assert not os.path.exists(made[0][1])
        return made[-1]

    real = temporary.tempfile.mkstemp
    monkeypatch.setattr(temporary.tempfile, "mkstemp", make)
    write_text(memory_folder / "a", "whole")
    assert len(made) == 2 and os.listdir(memory_folder) == ["a"]


def test_children_do_not_hold_what_their_parent_wrote(memory_folder):
    gone, held = os.pipe()

    def loader() -> None:
        if not os.fork():  # a loader process, for instance
            os.close(held)
            os.read(gone, 1)
            os._exit(0)

    killed_writer(memory_folder / "a", before=loader)
    assert forked(lambda: write_text(memory_folder / "b", "whole")) == 0
    assert os.listdir(memory_folder) == ["b"]
    os.close(held)
    os.close(gone)


def test_without_locks_nothing_is_removed_and_nothing_fails(memory_folder, monkeypatch):
    """The file of a writer that could not lock it is left by those that can."""
    left = killed_writer(memory_folder / "a")

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(temporary.fcntl, "flock", refuse)
        write_text(memory_folder / "a", "whole")
        assert {*memory_folder.iterdir()} == {memory_folder / "a", left}
        unlocked = killed_writer(memory_folder / "a")
    assert forked(lambda: sweep(memory_folder)) == 0
    assert {*memory_folder.iterdir()} == {memory_folder / "a", unlocked}


def test_files_of_another_machine_must_be_silent_for_an_hour(memory_folder, monkeypatch):
    left = []
    for machine in ("01234567", "89abcdef"):
        with monkeypatch.context() as patch:
            patch.setattr(temporary, "_machine", lambda machine=machine: machine)
            left.append(killed_writer(memory_folder / "a"))
    young, old = left
    os.utime(old, (time.time() - 3700,) * 2)
    sweep(memory_folder)
    assert [*memory_folder.iterdir()] == [young]


def test_a_process_looks_through_a_folder_once_in_a_while(memory_folder, monkeypatch):
    """Writing many files into one folder would take quadratic time."""
    write_text(memory_folder / "a", "whole")
    left = killed_writer(memory_folder / "a")
    write_text(memory_folder / "a", "whole")
    assert left.exists()
    monkeypatch.setattr(temporary, "SWEEP_SECONDS", 0.0)
    write_text(memory_folder / "a", "whole")
    assert os.listdir(memory_folder) == ["a"]
