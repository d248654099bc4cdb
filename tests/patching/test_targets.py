"""The trees that the series goes onto: the patched trainer of an installation, and clones."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

import hardpairs
from hardpairs.core.errors import UserError
from hardpairs.patching import targets
from hardpairs.patching.diff import PACKAGE, patch_state
from hardpairs.patching.folders import MANIFEST
from hardpairs.patching.series import (
    MAIN,
    VERSIONS,
    fingerprint,
    is_that_commit,
    load_series,
    main_commit,
)
from hardpairs.patching.tree import read_clone
from tests.patching.clones import edit, make_main, patch_command, snapshot


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """Let this package take itself for one that was installed from a wheel."""
    monkeypatch.setattr(targets, "_BESIDE", tmp_path / "site-packages")
    (tmp_path / "site-packages/openclip_hardpairs-1.0.dist-info").mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/hardpairs"


def test_a_checkout_has_the_trainer_beside_the_package():
    assert targets.trainer_folder() == Path(hardpairs.__file__).parents[1] / PACKAGE


def test_a_wheel_has_the_trainer_in_the_cache(wheel):
    version, installed = targets.installed_trainer()
    folder = targets.make_trainer()
    series = load_series(version)
    assert folder == wheel / f"{version}-{fingerprint(series)[:16]}" / PACKAGE
    changed = {name for patch in series for name in patch.files}
    for path in installed.glob("*.py"):
        assert (path.read_bytes() != (folder / path.name).read_bytes()) == (path.name in changed)
    before = (folder / "main.py").stat().st_mtime_ns
    assert targets.make_trainer() == folder
    assert (folder / "main.py").stat().st_mtime_ns == before


def test_a_checkout_renews_an_outdated_trainer(tmp_path, monkeypatch):
    """As after ``git pull``; a group that was not applied stays away."""
    monkeypatch.setattr(targets, "_BESIDE", tmp_path / "src")
    (tmp_path / "patches").mkdir()
    folder = targets.make_trainer()
    manifest = json.loads((folder / MANIFEST).read_text())
    before = (folder / "main.py").stat().st_mtime_ns
    assert targets.make_trainer() == folder
    assert (folder / "main.py").stat().st_mtime_ns == before
    texts = {name: text for name, text in manifest["patches"].items() if "mend" in name}
    newest = texts.pop("0214-mend-save-first")
    (folder / MANIFEST).write_text(json.dumps({**manifest, "patches": texts}))
    targets.make_trainer()
    patches = json.loads((folder / MANIFEST).read_text())["patches"]
    assert patches == {**texts, "0214-mend-save-first": newest}
    assert "hardpairs.training" not in (folder / "main.py").read_text()


def test_several_processes_make_it_once(wheel):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        folders = set(pool.map(_make, range(4)))
    assert len(folders) == 1 and [path.name for path in wheel.glob("*/*")] == [PACKAGE]


def _make(_: int) -> Path:
    return targets.make_trainer()


def test_the_home_folder_has_the_cache_by_default(wheel, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/somewhere")
    assert targets.trainer_folder().is_relative_to("/somewhere/.cache/hardpairs")


def test_another_series_is_another_folder(wheel, monkeypatch, tmp_path):
    before = targets.trainer_folder()
    fewer = load_series(VERSIONS[0])[:-1]
    monkeypatch.setattr(targets, "load_series", lambda version: fewer)
    assert targets.trainer_folder() != before


def test_the_version_of_a_clone(tmp_path):
    with pytest.raises(UserError, match="no src/open_clip_train") as refused:
        targets.find_clone(tmp_path)
    assert refused.value.code == 3
    installed = targets.installed_trainer()[1]
    shutil.copytree(installed, tmp_path / PACKAGE)
    assert targets.find_clone(tmp_path) == (tmp_path / PACKAGE, VERSIONS[0])
    (tmp_path / "open_clip").mkdir()
    (tmp_path / "open_clip/version.py").write_text("__version__ = '1.0'\n")
    assert targets.find_clone(tmp_path)[1] == VERSIONS[0]  # its lines say so
    edit(
        tmp_path / PACKAGE / "main.py",
        "    random_seed(args.seed, 0)",
        "    random_seed(args.seed)",
    )
    assert targets.find_clone(tmp_path)[1] == VERSIONS[0]
    edit(tmp_path / PACKAGE / "main.py", "    data = get_data(\n", "    data = make_data(\n")
    with pytest.raises(UserError, match=r"no patches for OpenCLIP 1.0[\s\S]*checkout 89fb801"):
        targets.find_clone(tmp_path)
    (tmp_path / "open_clip/version.py").write_text("__version__ = '2.32.0'\n")
    assert targets.find_clone(tmp_path)[1] == "2.32.0"  # so that the lines in the way are named


def test_main_is_known_by_its_lines(tmp_path, capsys):
    run, tree = patch_command(capsys), make_main(tmp_path)
    assert targets.find_clone(tmp_path) == (tree, MAIN)
    before = snapshot(tmp_path)
    applied = run("--target", tmp_path)
    assert applied.code == 0 and "not main at 89fb801" in applied.err
    assert run("--target", tmp_path, "--check").code == 0
    assert run("--target", tmp_path, "--reverse").code == 0 and snapshot(tmp_path) == before
    (tree.parent / "open_clip/version.py").write_text("__version__ = '5.0'\n")
    assert targets.find_clone(tmp_path)[1] == MAIN


def test_a_commit_of_main_that_the_patches_do_not_fit(tmp_path, capsys):
    run, tree = patch_command(capsys), make_main(tmp_path, "4.3.0")
    edit(tree / "main.py", "range(train_state.epoch, args.epochs)", "train_state.epochs_left")
    before = snapshot(tmp_path)
    refused = run("--target", tmp_path)
    assert refused.code == 4 and snapshot(tmp_path) == before
    assert f"git -C {tmp_path} checkout 89fb801" in refused.err
    assert "found 'for epoch in train_state.epochs_left:' (0103-hook-epoch)" in refused.err


def test_the_commit_of_main_that_the_patches_know():
    commit = main_commit()
    assert {file for patch in load_series(MAIN) for file in patch.files} <= set(commit["files"])
    clone = os.environ.get("OPEN_CLIP_MAIN")
    if not clone:
        pytest.skip("OPEN_CLIP_MAIN names no clone (scripts/get_open_clip_main.sh makes one)")
    folder = Path(clone) / "src" / PACKAGE
    assert is_that_commit({path.name: path.read_bytes() for path in folder.glob("*.py")})
    assert targets.find_clone(Path(clone))[1] == MAIN


def test_the_v3_branch_takes_the_series_of_its_release():
    clone = os.environ.get("OPEN_CLIP_V3")
    if not clone:
        pytest.skip("OPEN_CLIP_V3 names no clone of OpenCLIP's branch v3")
    folder, version = targets.find_clone(Path(clone))
    series = load_series(version)
    tree = read_clone(folder, version, series)
    assert version == VERSIONS[0] and len(series) > 16
    assert {patch_state(patch, tree.base) for patch in series} == {"open"}


def test_the_trainer_of_this_project_is_no_clone(tmp_path, monkeypatch):
    monkeypatch.setattr(targets, "trainer_folder", lambda: tmp_path / "src" / PACKAGE)
    (tmp_path / "src" / PACKAGE).mkdir(parents=True)
    with pytest.raises(UserError, match="own tree"):
        targets.find_clone(tmp_path)
