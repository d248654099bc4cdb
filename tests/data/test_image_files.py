"""Encoded images in files and inside tars, read by many threads and processes."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from hardpairs.data import image_files
from hardpairs.data.image_files import ImageFiles
from tests.helpers import picture


@pytest.fixture
def names(shards, tmp_path):
    """A file, members of three tars, and names that lead to nothing."""
    (tmp_path / "x.jpg").write_bytes(picture(50))
    members = [f"{shards}/{tar:05d}.tar/{tar:05d}{member:04d}.jpg" for tar, member in PLACES]
    return [str(tmp_path / "x.jpg"), *members, f"{shards}/00000.tar/none.jpg", "none.tar/a.jpg"]


PLACES = [(0, 2), (2, 1), (1, 0), (0, 6)]
NUMBERS = [50, 2, 13, 7, 6]
"""The seeds of the pictures under the first names."""


def test_names_inside_tars(names):
    files = ImageFiles.of_names(names)
    assert [files.read(row) for row in range(5)] == list(map(picture, NUMBERS))
    assert len(files.paths) == 5  # a tar is listed once
    assert files.path_text(0, "x") == names[0] and files.path_text(1, "k").endswith("0.tar/k")
    for row in (5, 6):
        with pytest.raises(OSError):
            files.read(row)


def test_few_tars_are_open_at_once(names, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_OPEN_TARS", 2)
    files = ImageFiles.of_names(names)
    for row in [1, 2, 3, 4, 1, 3]:
        assert files.read(row) == picture(NUMBERS[row]) and len(files._open) <= 2


def test_threads_and_processes_read_for_themselves(names):
    files = ImageFiles.of_names(names)
    rows = [1, 2, 3, 4] * 10
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(files.read, rows)) == [picture(NUMBERS[row]) for row in rows]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(files.read, (2,)) == picture(13)
    assert files._open and not pickle.loads(pickle.dumps(files))._open


def test_a_tar_that_ends_early_is_an_error(names, shards):
    files = ImageFiles.of_names(names)
    with open(shards / "00002.tar", "r+b") as tar:
        tar.truncate(1000)
    with pytest.raises(OSError, match="ends before byte"):
        files.read(2)
