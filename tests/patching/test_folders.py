"""Folders that are replaced whole, also when they are read-only and under SIGKILL."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from hardpairs.cli import patch as apply_patches
from hardpairs.core.errors import Exit, run_command
from hardpairs.patching import companions, folders, series
from hardpairs.patching.diff import PACKAGE
from tests.patching.clones import make_copy, snapshot


def test_files_that_no_patch_touches_stay_the_same_files(run, clone):
    tree = clone / "src" / PACKAGE
    (tree / "main.py").chmod(0o640)
    (tree / "logger.py").chmod(0o444)
    status = (tree / "logger.py").stat()
    run("--target", clone)
    after = (tree / "logger.py").stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (
        status.st_ino,
        status.st_mtime_ns,
        status.st_mode,
    )
    assert (tree / "main.py").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("locked", ["src", f"src/{PACKAGE}"])
def test_read_only_folder(clone, locked, capfd):
    before = snapshot(clone)
    (clone / locked).chmod(0o555)
    child = os.fork()
    if child == 0:
        obey_permissions()
        with pytest.raises(SystemExit) as stop:
            run_command(lambda: apply_patches.main(["--target", str(clone)]))
        os._exit(int(stop.value.code or 0))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    (clone / locked).chmod(0o755)
    error = capfd.readouterr().err
    assert code == Exit.RESOURCES and "Permission denied" in error and "Traceback" not in error
    assert snapshot(clone) == before


def obey_permissions() -> None:
    """Root may write into read-only folders; without these capabilities it may not (Linux, capset of version 3)."""
    libc, header, sets = (
        ctypes.CDLL(None),
        (ctypes.c_uint32 * 2)(0x20080522, 0),
        (ctypes.c_uint32 * 6)(),
    )
    libc.capget(header, sets)
    sets[0] &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    libc.capset(header, sets)


OPERATIONS = (
    "open",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.chmod",
    "os.scandir",
    "os.listdir",
)


def in_child(argv: list[str], *, exchange: bool, kill_before: int = 0) -> int:
    """Runs the command in a child, which kills itself before its n-th operation on files.

    Returns:
        The number of operations, or 0 when the child was killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if not exchange:
                folders._exchange = lambda one, other: False
            operations = counted(lambda: apply_patches.main(argv), kill_before)
            os.write(writer, str(operations).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        operations = int(pipe.read() or 0)
    assert (status == 0) == (operations > 0) and (
        status == 0 or os.WTERMSIG(status) == signal.SIGKILL
    )
    return operations


def counted(command: Callable[[], int], kill_before: int) -> int:
    """Operations on files while a command runs; at the given one the process is killed, before it is done."""
    done = [0]

    def count(event: str, _: tuple[object, ...]) -> None:
        done[0] += event in OPERATIONS
        if event in OPERATIONS and done[0] == kill_before:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        command()
    return done[0]


def kill_points(number: int) -> list[tuple[str, bool, float]]:
    """(action, whether folders can be exchanged, where in the run from 0 to 1), spread evenly and the same each time."""
    rng = random.Random(0)
    actions = [
        ("apply", True),
        ("reverse", True),
        ("renew", True),
        ("apply", False),
        ("reverse", False),
    ]
    return [(*actions[i % len(actions)], rng.random()) for i in range(number)]


LEFT_OUT = ("catalog", "cli", "data", "demo", "losses", "mining", "pages", "photos", "recipes")
"""Packages that are not copied: five copies for each kill take long."""


def freeze(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Works on copies of patches and packages, so that somebody who edits them meanwhile is no fault."""
    ignore = shutil.ignore_patterns("__pycache__", *LEFT_OUT)
    monkeypatch.setattr(series, "PATCHES", shutil.copytree(series.PATCHES, folder / "patches"))
    for name, source in companions.COMPANIONS.items():
        monkeypatch.setitem(
            companions.COMPANIONS, name, shutil.copytree(source, folder / name, ignore=ignore)
        )


@pytest.fixture
def states(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Path]:
    """The clone without patches, with them, and with them and packages of an older day."""
    folder = tmp_path_factory.mktemp("states")
    freeze(tmp_path_factory.mktemp("frozen"), monkeypatch)
    make_copy(folder / "plain")
    shutil.copytree(folder / "plain", folder / "patched")
    apply_patches.main(["--target", str(folder / "patched")])
    shutil.copytree(folder / "patched", folder / "older")
    manifest = folder / "older" / "src" / "hardpairs" / folders.MANIFEST
    noted = json.loads(manifest.read_text())
    noted["files"]["gone.py"] = folders.sha256(b"gone")
    manifest.write_text(json.dumps(noted))
    (manifest.parent / "gone.py").write_bytes(b"gone")
    return {path.name: path for path in folder.iterdir()}


def check_kill_points(states: dict[str, Path], tmp_path: Path, number: int) -> None:
    expected = {name: snapshot(folder) for name, folder in states.items()}
    trees = {name: snapshot(folder / "src" / PACKAGE) for name, folder in states.items()}
    work = tmp_path / "work"
    argv = {
        action: ["--target", str(work), *options]
        for action, options in (("apply", []), ("reverse", ["--reverse"]), ("renew", []))
    }
    start = {"apply": "plain", "reverse": "patched", "renew": "older"}
    operations: dict[tuple[str, bool], int] = {}
    for i, (action, exchange, share) in enumerate(kill_points(number)):
        shutil.copytree(states[start[action]], work)
        if (action, exchange) not in operations:
            operations[action, exchange] = in_child(argv[action], exchange=exchange)
            shutil.rmtree(work)
            shutil.copytree(states[start[action]], work)
        point = 1 + int(share * operations[action, exchange])
        assert in_child(argv[action], exchange=exchange, kill_before=point) == 0
        check_not_mixed(work, trees, expected["patched"], exchange)
        forward = i % 2 == 0
        apply_patches.main(argv["apply" if forward else "reverse"])
        assert snapshot(work) == expected["patched" if forward else "plain"], (
            action,
            exchange,
            point,
        )
        shutil.rmtree(work)


def check_not_mixed(
    work: Path, trees: dict[str, dict[str, bytes]], patched: dict[str, bytes], exchange: bool
) -> None:
    folder = work / "src" / PACKAGE
    if not folder.exists():
        assert (
            not exchange
        )  # between two renames, and the old tree stands whole where the next run finds it
        folder = folders.retired(folder)
    tree = snapshot(folder)
    assert tree in (trees["plain"], trees["patched"])
    if (
        tree == trees["patched"]
    ):  # then all that its hooks import is there: of today, or of the older day
        packages = {
            name: content
            for name, content in snapshot(work).items()
            if name.split("/")[1] in companions.COMPANIONS
        }
        assert all(
            packages[name] == patched[name]
            for name in patched
            if name.split("/")[1] in companions.COMPANIONS
            if ".json" not in name
        )


def test_a_kill_of_each_action(states, tmp_path):
    check_kill_points(states, tmp_path, 5)


@pytest.mark.slow
def test_a_thousand_kills(states, tmp_path):
    check_kill_points(states, tmp_path, 1000)
