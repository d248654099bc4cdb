"""Folders that look like a drive that is not mounted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hardpairs.core.errors import UserError
from hardpairs.photos.index import Index
from tests.helpers import picture, sample, write_tar


@pytest.fixture
def drives(photos: Path, tmp_path: Path) -> list[Path]:
    """Three sources: a folder of a folder each, and one of a tar."""
    write_tar(tmp_path / "nas/0.tar", {f"{i}": sample(30 + i) for i in range(3)})
    return [photos / "summer", photos / "winter", tmp_path / "nas"]


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _other_files(folder: Path) -> None:
    _empty(folder)
    (folder / "lost+found").mkdir()
    (folder / "note.md").write_text("not mounted")


@pytest.mark.parametrize("change", [_empty, _other_files])
def test_an_empty_source_is_refused_until_it_is_forgotten(make_index, drives, tmp_path, change):
    make_index(*drives)
    before = (tmp_path / "index/manifest.json").read_bytes()
    for folder, kept in ((drives[2], 12), (drives[1], 6)):
        change(folder)
        with pytest.raises(UserError, match="hold no photo") as error:
            make_index(*drives)
        assert error.value.code == 3 and str(folder) in error.value.where
        assert (tmp_path / "index/manifest.json").read_bytes() == before
        done = make_index(*drives, forget=True)
        assert (done.photos, done.new) == (kept, 0)
        assert make_index(*drives).forgotten == 0
        before = (tmp_path / "index/manifest.json").read_bytes()


def test_an_empty_folder_within_a_source_is_refused(photos, make_index, tmp_path):
    (photos / "never").mkdir()
    make_index()
    _empty(photos / "winter")
    with pytest.raises(UserError, match="folders of 6 of the index's 12 photos") as error:
        make_index()
    assert error.value.where == str(photos / "winter")
    (photos / "winter").rmdir()
    assert make_index().forgotten == 6


def test_a_source_that_is_gone_is_forgotten(photos, make_index, drives, tmp_path):
    make_index(*drives)
    shutil.rmtree(drives[1])
    with pytest.raises(UserError, match="no such file or folder"):
        make_index(*drives)
    assert make_index(*drives, forget=True).forgotten == 6
    sources = Index.open(tmp_path / "index").manifest["sources"]
    assert sources == [str(drives[0]), str(drives[2])]


def test_a_source_that_is_not_named_any_more_leaves_the_index(photos, make_index, drives):
    make_index(*drives)
    _empty(drives[1])
    assert make_index(drives[0]).forgotten == 9


def test_a_new_source_may_be_empty(photos, make_index, tmp_path):
    (tmp_path / "camera").mkdir()
    assert make_index(photos, tmp_path / "camera").photos == 12
    (tmp_path / "camera/0.jpg").write_bytes(picture(50))
    (photos / "winter/06.jpg").unlink()
    done = make_index(photos, tmp_path / "camera")
    assert (done.new, done.forgotten) == (1, 1)
