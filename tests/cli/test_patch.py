"""The patch tool on real folders: a git clone with commits of the user's, a plain copy, read-only ones, and under SIGKILL."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from hardpairs.cli import patch as apply_patches
from hardpairs.core.errors import Exit, run_command
from hardpairs.patching import companions, folders, series, targets
from hardpairs.patching.diff import PACKAGE
from hardpairs.patching.series import load_series
from tests.helpers import ROOT

INSTALLED = Path(str(importlib.metadata.distribution("open_clip_torch").locate_file(PACKAGE)))


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """The command in this process, with the exit code its process would have."""

    def call(*argv: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run_command(lambda: apply_patches.main([str(argument) for argument in argv]))
        return Result(int(stop.value.code or 0), *capsys.readouterr())

    return call


def make_copy(folder: Path, version: str = series.VERSIONS[0]) -> Path:
    """A plain copy of OpenCLIP's source tree, as far as the tool looks at it; returns the training code's folder."""
    tree = folder / "src" / PACKAGE
    shutil.copytree(INSTALLED, tree, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "src" / "open_clip").mkdir()
    (folder / "src" / "open_clip" / "version.py").write_text(f"__version__ = '{version}'\n")
    return tree


def git(folder: Path, *argv: str) -> str:
    identity = [
        "-c",
        "user.name=user",
        "-c",
        "user.email=user@example.org",
        "-c",
        "core.autocrlf=false",
    ]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *argv], check=True, capture_output=True, text=True
    ).stdout


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A git clone with a commit of the user's own in two files that the series changes."""
    folder = tmp_path / "clone"
    tree = make_copy(folder)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "OpenCLIP")
    edit(tree / "train.py", "Computes and stores the average", "Computes and keeps the average")
    edit(tree / "main.py", '"epoch_latest.pt"\n', '"epoch_latest.pt"\n# ours: one\n# ours: two\n')
    (tree / "our_tool.py").write_text("print('ours')\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "Local work")
    return folder


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the default command makes its tree, away from this checkout's own."""
    folder = tmp_path / "repository" / "src" / PACKAGE
    folder.parent.mkdir(parents=True)
    monkeypatch.setattr(targets, "trainer_folder", lambda: folder)
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file under a folder by path, but for git's and Python's own."""
    files = (
        path
        for path in folder.rglob("*")
        if path.is_file() and not {".git", "__pycache__"} & set(path.parts)
    )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# the copy that we make of the installed package


def test_generated_tree(run, generated):
    assert run("--check").code == Exit.MISMATCH
    assert run().code == 0
    patched = snapshot(generated)
    times = {path: path.stat().st_mtime_ns for path in generated.rglob("*")}
    changed = [
        name
        for name in patched
        if name != folders.MANIFEST and patched[name] != (INSTALLED / name).read_bytes()
    ]
    assert sorted(changed) == sorted(
        {file for patch in load_series("3.3.0") for file in patch.files}
    )
    assert run("--check").code == 0
    again = run()
    assert again.code == 0 and "nothing to do" in again.err
    assert times == {path: path.stat().st_mtime_ns for path in generated.rglob("*")}
    assert run("--reverse").code == 0
    assert list(generated.parent.iterdir()) == []
    assert run("--reverse").code == 0


def test_it_takes_less_than_two_seconds(tmp_path):
    """Of its processes' own time: the clock on the wall also counts what else the machine does."""
    make_copy(tmp_path)
    before = _seconds_of_children()
    subprocess.run(
        [sys.executable, "-m", "tools.apply_patches", "--target", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    assert 0 < _seconds_of_children() - before < 2


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_generated_tree_is_renewed_when_the_patches_changed(run, generated, tmp_path, monkeypatch):
    older = tmp_path / "patches"
    shutil.copytree(series.PATCHES, older)
    sorted(older.glob("*.patch"))[-1].unlink()
    first = sorted(older.glob("02*.patch"))[0]
    first.write_text("An older title\n" + first.read_text())
    with monkeypatch.context() as patch:
        patch.setattr(series, "PATCHES", older)
        assert run().code == 0
    check = run("--check")
    assert check.code == Exit.MISMATCH and "older" in check.out and "missing" in check.out
    assert run().code == 0
    assert run("--check").code == 0


def test_generated_tree_is_renewed_when_openclip_changed(run, generated, tmp_path, monkeypatch):
    other = shutil.copytree(
        INSTALLED, tmp_path / "other" / PACKAGE, ignore=shutil.ignore_patterns("__pycache__")
    )
    (other / "logger.py").write_text("# another OpenCLIP\n" + (other / "logger.py").read_text())
    with monkeypatch.context() as patch:
        patch.setattr(targets, "installed_trainer", lambda: ("3.3.0", other))
        assert run().code == run("--check").code == 0
    assert run("--check").code == Exit.MISMATCH
    assert "logger.py" in run().err and run("--check").code == 0


def test_series_of_the_generated_tree(run, generated):
    assert run("--series", "mends").code == 0
    assert "hardpairs.training.hooks" not in (generated / "main.py").read_text()
    assert run("--check", "--series", "mends").code == 0
    assert run("--check").code == Exit.MISMATCH
    assert run().code == 0
    assert run("--reverse", "--series", "hooks").code == 0
    assert run("--check", "--series", "mends").code == 0
    assert "hardpairs.training.hooks" not in (generated / "main.py").read_text()


def test_a_generated_tree_that_was_edited_is_not_lost(run, generated):
    run()
    edit(generated / "zero_shot.py", "def run(", "def walk(")
    before = snapshot(generated)
    for argv in ((), ("--reverse",), ("--series", "mends")):
        result = run(*argv)
        assert result.code == Exit.MISMATCH and "zero_shot.py" in result.err
    assert snapshot(generated) == before


def test_a_folder_that_is_not_ours_is_left_alone(run, generated):
    generated.mkdir()
    (generated / "main.py").write_text("mine\n")
    assert run().code == Exit.MISMATCH
    assert snapshot(generated) == {"main.py": b"mine\n"}


# a clone of the user's


def test_clone_with_local_commits(run, clone):
    before = snapshot(clone)
    assert run("--target", clone).code == 0
    assert {f"?? src/{name}/" for name in companions.COMPANIONS} <= set(
        git(clone, "status", "--short").splitlines()
    )
    for name, source in companions.COMPANIONS.items():
        placed = {
            file: content
            for file, content in snapshot(clone / "src" / name).items()
            if file != folders.MANIFEST
        }
        assert placed == snapshot(source)
    assert "# ours: one" in (clone / "src" / PACKAGE / "main.py").read_text()
    assert run("--check", "--target", clone).code == 0
    again = snapshot(clone)
    result = run("--target", clone)
    assert result.code == 0 and "nothing to do" in result.err and snapshot(clone) == again
    assert run("--reverse", "--target", clone).code == 0
    assert snapshot(clone) == before
    assert git(clone, "status", "--short") == ""


def test_edits_elsewhere_survive_applying_and_reversing(run, clone):
    tree = clone / "src" / PACKAGE
    run("--target", clone)
    patched = {name: (tree / name).read_text() for name in ("main.py", "data.py")}
    for name, text in patched.items():
        (tree / name).write_text("# a new first line\n" * 40 + text + "# a new last line\n")
    assert run("--check", "--target", clone).code == 0
    assert run("--reverse", "--target", clone).code == 0
    assert (
        git(clone, "diff", "--numstat")
        == f"41\t0\tsrc/{PACKAGE}/data.py\n41\t0\tsrc/{PACKAGE}/main.py\n"
    )
    assert run("--target", clone).code == 0
    assert (tree / "main.py").read_text() == "# a new first line\n" * 40 + patched[
        "main.py"
    ] + "# a new last line\n"


def test_edited_lines_are_refused_whole_and_named(run, clone):
    tree = clone / "src" / PACKAGE
    edit(
        tree / "data.py",
        "df = pd.read_csv(input_filename, sep=sep)",
        "df = pd.read_csv(input_filename, sep=sep, nrows=5)",
    )
    edit(
        tree / "main.py",
        "(dist_model, device_ids=[device], **ddp_args)",
        "(dist_model, **ddp_args)",
    )
    before = snapshot(clone)
    lines = {name: (tree / name).read_text().splitlines() for name in ("data.py", "main.py")}
    data_line = next(i for i, line in enumerate(lines["data.py"], 1) if "nrows=5" in line)
    main_line = next(
        i for i, line in enumerate(lines["main.py"], 1) if "(dist_model, **ddp_args)" in line
    )
    for argv in ((), ("--series", "mends"), ("--dry-run",)):
        result = run("--target", clone, *argv)
        assert result.code == Exit.MISMATCH
        assert (
            f"data.py:{data_line}: expected 'df = pd.read_csv(input_filename, sep=sep)'"
            in result.err
        )
        assert f"main.py:{main_line}: expected 'dist_model = " in result.err
        assert snapshot(clone) == before
    assert (
        run("--target", clone, "--series", "hooks").code == 0
    )  # the edits are in the way of mends only
    assert run("--target", clone, "--reverse").code == 0
    assert snapshot(clone) == before


def test_lines_of_ours_that_were_edited_are_not_taken_off(run, clone):
    run("--target", clone)
    edit(
        clone / "src" / PACKAGE / "main.py",
        "tokenizer = get_tokenizer(args)",
        "tokenizer = get_tokenizer(args)  # mine",
    )
    before = snapshot(clone)
    result = run("--target", clone, "--reverse")
    assert (
        result.code == Exit.MISMATCH
        and "# mine" in result.err
        and "0102-hook-builders" in result.err
    )
    assert snapshot(clone) == before


def test_windows_line_ends(run, clone):
    tree = clone / "src" / PACKAGE
    for file in tree.glob("*.py"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    before = snapshot(clone)
    assert run("--target", clone).code == 0
    for file in tree.glob("*.py"):
        assert file.read_bytes().count(b"\n") == file.read_bytes().count(b"\r\n")
    assert run("--target", clone, "--reverse").code == 0
    assert snapshot(clone) == before


def test_plain_copy_without_version_or_git(run, tmp_path):
    shutil.copytree(
        INSTALLED, tmp_path / "copy" / PACKAGE, ignore=shutil.ignore_patterns("__pycache__")
    )
    before = snapshot(tmp_path)
    assert run("--target", tmp_path / "copy").code == 0
    assert (tmp_path / "copy" / "hardpairs" / "training" / "hooks.py").exists()
    assert run("--target", tmp_path / "copy", "--reverse").code == 0
    assert snapshot(tmp_path) == before


def test_unknown_version(run, tmp_path):
    make_copy(tmp_path, "3.4.0.dev0")
    before = snapshot(tmp_path)
    result = run("--target", tmp_path)
    assert result.code == Exit.MISMATCH and snapshot(tmp_path) == before
    assert (
        "3.4.0.dev0" in result.err
        and "3.3.0, 3.2.0, 2.32.0" in result.err
        and "checkout v3.3.0" in result.err
    )


def test_wrong_version_under_a_right_name(run, tmp_path):
    """A clone that says 2.32.0 and is 3.3.0: the patch that differs does not fit, so nothing is changed."""
    make_copy(tmp_path, "2.32.0")
    before = snapshot(tmp_path)
    result = run("--target", tmp_path)
    assert (
        result.code == Exit.MISMATCH
        and "main.py:397" in result.err
        and snapshot(tmp_path) == before
    )


def test_no_such_target(run, tmp_path):
    assert run("--target", tmp_path / "nowhere").code == Exit.BAD_INPUT


def test_dry_run_changes_nothing(run, clone, generated):
    before = snapshot(clone)
    assert "main.py" in run("--target", clone, "--dry-run").err and snapshot(clone) == before
    run("--target", clone)
    patched = snapshot(clone)
    assert (
        "main.py" in run("--target", clone, "--dry-run", "--reverse").err
        and snapshot(clone) == patched
    )
    assert run("--dry-run").code == 0 and not generated.exists()


def test_check_names_what_is_missing(run, clone):
    run("--target", clone, "--series", "mends")
    assert run("--target", clone, "--check", "--series", "mends").code == 0
    result = run("--target", clone, "--check")
    assert result.code == Exit.MISMATCH
    assert (
        "0101-hook-flags" in result.err and "hardpairs/" in result.err and "0201" not in result.err
    )
    assert not (clone / "src" / "hardpairs").exists()  # mends need none of our packages


def test_series_come_and_go_by_themselves(run, clone):
    before = snapshot(clone)
    run("--target", clone, "--series", "mends")
    mended = snapshot(clone)
    run("--target", clone, "--series", "hooks")
    assert run("--target", clone, "--check").code == 0
    run("--target", clone, "--reverse", "--series", "hooks")
    assert {
        name: content for name, content in snapshot(clone).items() if folders.MANIFEST not in name
    } == {name: content for name, content in mended.items() if folders.MANIFEST not in name}
    run("--target", clone, "--reverse")
    assert snapshot(clone) == before


def test_a_patch_that_the_user_applied_stays_the_users(run, clone):
    git(clone, "apply", str(series.PATCHES / "0201-mend-cpu-ddp.patch"))
    before = snapshot(clone)
    assert run("--target", clone).code == 0
    assert run("--target", clone, "--check").code == 0
    assert "nothing to do" in run("--target", clone).err
    assert run("--target", clone, "--reverse").code == 0
    assert snapshot(clone) == before


def test_after_git_took_the_patches_off(run, clone):
    run("--target", clone)
    git(clone, "checkout", "--quiet", ".")
    assert run("--target", clone, "--check").code == Exit.MISMATCH
    assert run("--target", clone).code == 0
    assert run("--target", clone, "--check").code == 0
    git(clone, "checkout", "--quiet", ".")
    assert run("--target", clone, "--reverse").code == 0
    assert git(clone, "status", "--short") == ""


def test_a_folder_in_the_way_is_named(run, clone):
    (clone / "src" / "hardpairs").mkdir()
    (clone / "src" / "hardpairs" / "mine.py").write_text("mine\n")
    before = snapshot(clone)
    for argv in ((), ("--dry-run",), ("--series", "hooks")):
        result = run("--target", clone, *argv)
        assert (
            result.code == Exit.MISMATCH
            and "hardpairs/" in result.err
            and snapshot(clone) == before
        )
    assert run("--target", clone, "--series", "mends").code == 0
    assert run("--target", clone, "--reverse").code == 0
    assert snapshot(clone) == before


def test_work_in_our_packages_is_not_lost(run, clone):
    run("--target", clone)
    hooks = clone / "src" / "hardpairs" / "training" / "hooks" / "build.py"
    original = hooks.read_bytes()
    hooks.write_bytes(original + b"# mine\n")
    result = run("--target", clone, "--reverse")
    assert result.code == Exit.MISMATCH and "build.py" in result.err
    assert run("--target", clone, "--check").code == Exit.MISMATCH
    hooks.write_bytes(original)
    mine = clone / "src" / "hardpairs" / "mine.py"
    mine.write_text("mine\n")
    assert run("--target", clone, "--reverse").code == 0
    assert [path.name for path in mine.parent.iterdir()] == ["mine.py"]


def test_older_packages_are_renewed(run, clone, tmp_path, monkeypatch):
    older = tmp_path / "older"
    shutil.copytree(companions.COMPANIONS["hardpairs"], older)
    (older / "gone.py").write_text("gone\n")
    with monkeypatch.context() as patch:
        patch.setitem(companions.COMPANIONS, "hardpairs", older)
        run("--target", clone)
    assert run("--target", clone, "--check").code == Exit.MISMATCH
    assert run("--target", clone).code == 0
    assert run("--target", clone, "--check").code == 0
    assert not (clone / "src" / "hardpairs" / "gone.py").exists()


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


def test_stat_counts_changed_lines(run, clone):
    out = run("--stat").out
    counts = {line.split()[0]: int(line.split()[1]) for line in out.splitlines()}
    assert counts["hooks"] <= 60 and counts["all"] <= 150
    assert (
        counts["all"]
        == counts["hooks"] + counts["mends"]
        == sum(patch.changed for patch in load_series("3.3.0"))
    )
    run("--target", clone)
    added, removed = (sum(column) for column in zip(*changed_lines(clone), strict=True))
    assert max(added, removed) <= counts["all"] <= added + removed
    assert run("--stat", "--series", "hooks", "--target", clone).out.split()[-1] == str(
        counts["hooks"]
    )


def changed_lines(clone: Path) -> list[tuple[int, int]]:
    rows = git(clone, "diff", "--numstat", "--", f"src/{PACKAGE}").splitlines()
    return [(int(row.split()[0]), int(row.split()[1])) for row in rows]


# kills

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


def freeze(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Works on copies of patches and packages, so that somebody who edits them meanwhile is no fault."""
    ignore = shutil.ignore_patterns("__pycache__")
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


def test_fifty_kills(states, tmp_path):
    check_kill_points(states, tmp_path, 50)


@pytest.mark.slow
def test_a_thousand_kills(states, tmp_path):
    check_kill_points(states, tmp_path, 1000)


# other versions of OpenCLIP


def fetch(version: str, folder: Path) -> Path:
    """The real source of a version, from the package index."""
    download = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
        f"open_clip_torch=={version}",
    ]
    if subprocess.run(download, capture_output=True).returncode:
        pytest.skip("no package index here")
    shutil.unpack_archive(next(folder.glob("*.whl")), folder / "clone" / "src", "zip")
    return folder / "clone"


@pytest.mark.slow
@pytest.mark.parametrize("version", series.VERSIONS)
def test_versions(run, tmp_path, version):
    clone = fetch(version, tmp_path)
    before = snapshot(clone)
    assert run("--target", clone).code == 0
    assert run("--target", clone, "--check").code == 0
    subprocess.run([sys.executable, "-m", "compileall", "-q", clone / "src" / PACKAGE], check=True)
    assert int(run("--target", clone, "--stat").out.split()[-1]) <= 150
    assert run("--target", clone, "--reverse").code == 0
    assert snapshot(clone) == before


@pytest.mark.slow
@pytest.mark.parametrize("version", series.VERSIONS[1:])
def test_hooks_and_mends_of_versions(tmp_path, version):
    """All tests of what the patches do, on another version of OpenCLIP."""
    environment = {**os.environ, "HARDPAIRS_TEST_OPENCLIP": str(fetch(version, tmp_path) / "src")}
    tests = [str(path) for path in sorted((ROOT / "tests" / "patches").glob("test_[hm]*.py"))]
    command = [sys.executable, "-m", "pytest", "-m", "not slow", *tests]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]
