"""The trees that the series goes onto: the patched trainer of an installation, and clones."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

import hardpairs
from hardpairs.core.errors import UserError
from hardpairs.patching import targets
from hardpairs.patching.diff import PACKAGE
from hardpairs.patching.folders import MANIFEST
from hardpairs.patching.series import VERSIONS, fingerprint, load_series


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
    (tmp_path / "open_clip/version.py").write_text("__version__ = '2.32.0'\n")
    assert targets.find_clone(tmp_path)[1] == "2.32.0"
    (tmp_path / "open_clip/version.py").write_text("__version__ = '1.0'\n")
    with pytest.raises(UserError, match="no patches for OpenCLIP 1.0"):
        targets.find_clone(tmp_path)


def test_the_trainer_of_this_project_is_no_clone(tmp_path, monkeypatch):
    monkeypatch.setattr(targets, "trainer_folder", lambda: tmp_path / "src" / PACKAGE)
    (tmp_path / "src" / PACKAGE).mkdir(parents=True)
    with pytest.raises(UserError, match="own tree"):
        targets.find_clone(tmp_path)
