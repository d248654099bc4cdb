"""Laws of the patch series: what makes it safe to apply in any order and on a tree with edits."""

from __future__ import annotations

import ast
import importlib.metadata
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hardpairs.patching.diff import (
    PACKAGE,
    Patch,
    apply_hunk,
    apply_patch,
    patch_state,
)
from hardpairs.patching.series import MAIN, PATCHES, VERSIONS, load_series
from tests.helpers import ROOT

INSTALLED = Path(str(importlib.metadata.distribution("open_clip_torch").locate_file(PACKAGE)))
SERIES = load_series(VERSIONS[0])
HEADER = ("Series", "What", "Why", "Upstream", "Test")


def upstream() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in INSTALLED.glob("*.py")}


def apply_all(patches: list[Patch]) -> dict[str, bytes]:
    files = upstream()
    for patch in patches:
        assert patch_state(patch, files) == "open", patch.name
        files = apply_patch(patch, files)
    return files


def test_any_order_gives_the_same():
    files, rng = apply_all(SERIES), random.Random(0)
    for _ in range(10):
        assert apply_all(rng.sample(SERIES, len(SERIES))) == files


@pytest.mark.parametrize("patch", SERIES, ids=lambda patch: patch.name)
def test_each_by_itself(patch):
    files = apply_all([patch])
    assert patch_state(patch, files) == "applied"
    assert sorted(name for name in files if files[name] != upstream()[name]) == patch.files
    assert apply_patch(patch.reverse(), files) == upstream()
    for file in patch.files:
        ast.parse(files[file])


@pytest.mark.parametrize("patch", SERIES, ids=lambda patch: patch.name)
def test_git_takes_each(patch, tmp_path):
    """So that a mend can be sent upstream as it is."""
    shutil.copytree(
        INSTALLED, tmp_path / "src" / PACKAGE, ignore=shutil.ignore_patterns("__pycache__")
    )
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "apply", PATCHES / f"{patch.name}.patch"], cwd=tmp_path, check=True)
    assert {
        path.name: path.read_bytes() for path in (tmp_path / "src" / PACKAGE).glob("*.py")
    } == apply_all([patch])


def test_every_hunk_is_found_by_its_lines_alone():
    files = upstream()
    for patch in SERIES:
        for hunk in patch.hunks:
            assert apply_hunk(hunk, files[hunk.file]) is not None, (
                f"{patch.name}: the lines at {hunk.file}:{hunk.line} stand there twice"
            )
            above = b"# a line more\n" * 50
            assert apply_hunk(hunk, above + files[hunk.file]) is not None
            lines = files[hunk.file].split(b"\n")
            assert (
                tuple(lines[hunk.line - 1 : hunk.line - 1 + len(hunk.old)]) == hunk.old
            )  # the line number is right too


def test_size():
    hooks = sum(patch.changed for patch in SERIES if patch.series == "hooks")
    assert hooks <= 60 and sum(patch.changed for patch in SERIES) <= 160


@pytest.mark.parametrize("version", [VERSIONS[0], MAIN])
def test_mends_need_nothing_of_ours(version):
    for patch in load_series(version):
        added = re.findall(r"^\+(?!\+\+).*", patch.text, re.MULTILINE)
        ours = any(re.search(r"\bhardpairs\b", line) for line in added)
        assert (patch.series == "hooks") == ours, patch.name


@pytest.mark.parametrize(
    "file", sorted(PATCHES.rglob("*.patch")), ids=lambda file: file.relative_to(PATCHES).as_posix()
)
def test_header(file):
    header = file.read_text().split("\n--- a/")[0]
    assert all(re.search(rf"^{field}: \S", header, re.MULTILINE) for field in HEADER)
    assert max(len(line) for line in header.splitlines()) <= 140
    test_file, function = re.search(r"^Test: (\S+)::(\w+)$", header, re.MULTILINE).groups()
    assert re.search(rf"^def {function}\(", (ROOT / test_file).read_text(), re.MULTILINE)


def test_size_on_main():
    series = load_series(MAIN)
    hooks = sum(patch.changed for patch in series if patch.series == "hooks")
    assert hooks <= 25 and sum(patch.changed for patch in series) <= 200


@pytest.mark.parametrize("version", [VERSIONS[0], MAIN])
def test_numbers_tell_the_group(version):
    for patch in load_series(version):
        assert re.fullmatch(
            r"01\d\d-hook-[a-z-]+" if patch.series == "hooks" else r"02\d\d-mend-[a-z-]+",
            patch.name,
        )


def test_readme_lists_them():
    readme = (PATCHES / "README.md").read_text()
    for patch in SERIES:
        assert f"]({patch.name}.patch)" in readme, patch.name
    linked = [link for link in re.findall(r"\]\(([^)#]+)", readme) if not link.startswith("http")]
    assert all((PATCHES / link).exists() for link in linked)
    sums = {
        group: sum(patch.changed for patch in SERIES if patch.series == group)
        for group in ("hooks", "mends")
    }
    assert f"{sums['hooks']} changed lines" in readme and f"{sums['mends']} changed lines" in readme
    on_main = sum(patch.changed for patch in load_series(MAIN, "hooks"))
    for text in (readme, (ROOT / "docs/upstream.md").read_text()):
        assert f"{on_main} changed lines" in text


def test_patches_for_other_versions_say_the_same():
    """They add what the patch of that number adds; only what they find there differs."""
    for file in (file for version in VERSIONS for file in (PATCHES / version).glob("*.patch")):
        added = [
            re.findall(r"^\+(?!\+\+).*", text, re.MULTILINE)
            for text in (file.read_text(), (PATCHES / file.name).read_text())
        ]
        assert added[0] == added[1]
