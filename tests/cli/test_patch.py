"""hardpairs patch: its targets, versions and flags; tests/patching has what it does to a tree."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hardpairs.core.errors import Exit
from hardpairs.patching import series
from hardpairs.patching.diff import PACKAGE
from hardpairs.patching.series import load_series
from tests.helpers import ROOT
from tests.patching.clones import (
    INSTALLED,
    download,
    generated_folder,
    git,
    make_clone,
    make_copy,
    patch_command,
    snapshot,
)


@pytest.fixture
def run(capsys):
    return patch_command(capsys)


@pytest.fixture
def clone(tmp_path):
    return make_clone(tmp_path / "clone")


@pytest.fixture
def generated(tmp_path, monkeypatch):
    return generated_folder(tmp_path, monkeypatch)


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


def test_plain_copy_without_version_or_git(run, tmp_path):
    shutil.copytree(
        INSTALLED, tmp_path / "copy" / PACKAGE, ignore=shutil.ignore_patterns("__pycache__")
    )
    before = snapshot(tmp_path)
    assert run("--target", tmp_path / "copy").code == 0
    assert (tmp_path / "copy" / "hardpairs" / "training" / "hooks" / "build.py").exists()
    assert run("--target", tmp_path / "copy", "--reverse").code == 0
    assert snapshot(tmp_path) == before


def make_other(folder, version):
    """Make a copy with a line that no series knows."""
    params = make_copy(folder, version) / "params.py"
    other = "parser.parse_known_args(args)[0]"
    params.write_text(params.read_text().replace("parser.parse_args(args)", other))


def test_unknown_version(run, tmp_path):
    make_other(tmp_path, "3.4.0.dev0")
    before = snapshot(tmp_path)
    result = run("--target", tmp_path)
    assert result.code == Exit.MISMATCH and snapshot(tmp_path) == before
    assert (
        "3.4.0.dev0" in result.err
        and "3.3.0, 3.2.0, 2.32.0" in result.err
        and f"git -C {tmp_path} checkout" in result.err
    )


def test_wrong_version_under_a_right_name(run, tmp_path):
    """A clone that says 2.32.0 and has the lines of 3.3.0 is that; with another line it is neither."""
    make_other(tmp_path / "other", "2.32.0")
    before = snapshot(tmp_path / "other")
    result = run("--target", tmp_path / "other")
    assert result.code == Exit.MISMATCH and "main.py:397" in result.err
    assert snapshot(tmp_path / "other") == before
    make_copy(tmp_path / "same", "2.32.0")
    result = run("--target", tmp_path / "same")
    assert result.code == 0 and "OpenCLIP 3.3.0" in result.err


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


def test_stat_counts_changed_lines(run, clone):
    out = run("--stat").out
    counts = {line.split()[0]: int(line.split()[1]) for line in out.splitlines()}
    assert counts["hooks"] <= 60 and counts["all"] <= 160
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


# other versions of OpenCLIP


def fetch(version: str, folder: Path) -> Path:
    """Return the real source of a version, from the package index, as a clone has it."""
    unpacked = download(folder, f"open_clip_torch=={version}")
    (folder / "clone").mkdir()
    return unpacked.rename(folder / "clone/src").parent


@pytest.mark.slow
@pytest.mark.parametrize("version", series.VERSIONS)
def test_versions(run, tmp_path, version):
    clone = fetch(version, tmp_path)
    before = snapshot(clone)
    assert run("--target", clone).code == 0
    assert run("--target", clone, "--check").code == 0
    subprocess.run([sys.executable, "-m", "compileall", "-q", clone / "src" / PACKAGE], check=True)
    assert int(run("--target", clone, "--stat").out.split()[-1]) <= 160
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
