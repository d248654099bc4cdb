"""Encoded images in files and inside tars, read by many threads and processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
from concurrent.futures import ThreadPoolExecutor

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data import image_files
from hardpairs.data.image_files import ImageFiles
from hardpairs.data.images import read_images
from hardpairs.data.opening import open_samples
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
    assert files.path_text(0, "x") == names[0] and files.path_text(1, "k") == names[1]
    for row in (5, 6):
        with pytest.raises(OSError):
            files.read(row)


def test_few_tars_are_open_at_once(names, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_OPEN_TARS", 2)
    files = ImageFiles.of_names(names)
    for row in [1, 2, 3, 4, 1, 3]:
        assert files.read(row) == picture(NUMBERS[row]) and len(files._open) <= 2
    rows = [1, 2, 3, 4] * 50  # no thread reads through a handle that another one has closed
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(files.read, rows)) == [picture(NUMBERS[row]) for row in rows]


def test_the_process_may_have_few_files_open(names):
    """A part of them is for tars; where no file can be opened, the image is not called missing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files, taken = ImageFiles.of_names(names), []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/dev/fd"))) + 4, hard))
        with pytest.raises(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        with pytest.raises(UserError, match="too many open files") as error:
            files.read(1)
        resource.setrlimit(resource.RLIMIT_NOFILE, (16, hard))
        assert image_files._most_open_tars() == 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for handle in taken:
        os.close(handle)
    assert error.value.code == 5 and files.read(1) == picture(NUMBERS[1])


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


def test_rows_of_strangers_are_counted_with_their_reasons(tmp_path, monkeypatch):
    """A table can name anything; none of it is waited for, and none of it ends the work."""
    os.mkfifo(tmp_path / "pipe.jpg")
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(image_files.MAX_BYTES + 1)
    (tmp_path / "a.jpg").write_bytes(picture(0))
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    reason_of = {
        "a.jpg": None,
        "pipe.jpg": "not_a_file",
        "/dev/zero": "not_a_file",
        "/dev/null": "not_a_file",
        "huge.jpg": "too_large",
        "empty.jpg": "empty_image",
        "folder.jpg": "missing_file",
        "gone.jpg": "missing_file",
        "a\0b.jpg": "missing_file",
        "x" * 5000 + ".jpg": "missing_file",
        "http://127.0.0.1:9/a.jpg": "remote",
        "http://127.0.0.1:9/0.tar/a.jpg": "remote",
        "file:///etc/passwd": "remote",
        "foo://a.jpg": "remote",
    }
    rows = "".join(f"{name},caption {i}\n" for i, name in enumerate(reason_of))
    (tmp_path / "t.csv").write_bytes(("filepath,title\n" + rows).encode())
    samples = open_samples(tmp_path / "t.csv")
    read = read_images(samples, range(len(samples)), lambda image: image.size)
    expected = {row: reason for row, reason in enumerate(reason_of.values()) if reason}
    assert {**samples.rejected, **read.unreadable} == expected and read.rows == [0]
    (tmp_path / "u.csv").write_text("filepath,title\nfoo://a.jpg,a\nfoo://0.tar/a.jpg,b\n")
    allowed = open_samples(tmp_path / "u.csv", allow_remote=True)
    assert read_images(allowed, [0, 1], lambda _: 0).unreadable == dict.fromkeys(
        [0, 1], "unknown_url"
    )


def test_what_is_not_a_file_beside_an_image_is_no_caption(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture(0))
    os.mkfifo(tmp_path / "a.txt")
    assert list(open_samples(tmp_path).captions) == [""]
    os.mkfifo(tmp_path / "0.tar")
    with pytest.raises(UserError, match="missing"):
        open_samples(tmp_path / "0.tar")


def test_urls_are_read_where_they_are_allowed(tmp_path):
    for source in ("http://127.0.0.1:9/t.csv", "s3://bucket/{00..01}.tar", ["https://x/0.tar"]):
        with pytest.raises(UserError, match="behind a URL") as error:
            open_samples(source)
        assert error.value.code == 2 and "`allow_remote`" in error.value.fix
    (tmp_path / "t.csv").write_text("filepath,title\na.jpg,b\n")
    with pytest.raises(UserError, match="behind a URL"):
        open_samples(tmp_path / "t.csv", image_root="https://x/images")
