"""Files in a folder and in a store: the same answers."""

from __future__ import annotations

import time

import pytest

from hardpairs.core import shared_files
from tests.object_store import make_store


@pytest.fixture(params=["folder", "store"])
def place(request, tmp_path, monkeypatch):
    return tmp_path if request.param == "folder" else make_store(tmp_path.name, monkeypatch)


def test_one_of_two_makes_a_file(place):
    path = place / "a.lease"
    assert not shared_files.exists(path)
    assert shared_files.create(path, b"one") and not shared_files.create(path, b"two")
    assert shared_files.exists(path) and shared_files.read(path) == b"one"
    shared_files.remove(path)
    shared_files.remove(path)
    with pytest.raises(FileNotFoundError):
        shared_files.read(path)
    with pytest.raises(FileNotFoundError):
        shared_files.signed_at(path)
    assert shared_files.create(path, b"two")


def test_a_signature_is_by_the_clock_of_the_place(place):
    before = shared_files.time_at(place)
    shared_files.create(place / "a", b"one")
    made = shared_files.signed_at(place / "a")
    time.sleep(0.05)
    shared_files.sign(place / "a", b"one")
    assert before <= made < shared_files.signed_at(place / "a") <= shared_files.time_at(place)
    assert shared_files.read(place / "a") == b"one"
    assert [path.name for path in shared_files.files_in(place, "*")] == ["a"]


def test_files_are_listed_by_name(place):
    assert shared_files.files_in(place / "none", "*.npz") == []
    for name in ("part_2.npz", "part_10.npz", ".part_3.npz", "part_1.lease"):
        shared_files.create(place / name, name.encode())
    found = shared_files.files_in(place, "[!.]*.npz")
    assert [path.name for path in found] == ["part_10.npz", "part_2.npz"]
    with shared_files.open_to_read(found[0]) as file:
        assert file.read(4) == b"part" and file.seek(0) == 0 and file.read() == b"part_10.npz"


def test_a_folder_goes_with_what_is_in_it(place):
    folder = place / "work"
    if not shared_files.is_remote(place):
        (folder / "inner").mkdir(parents=True)
    for name in ("a", "inner/b"):
        shared_files.create(folder / name, b"")
    shared_files.create(place / "stays", b"")
    shared_files.remove_folder(folder)
    assert not shared_files.exists(folder / "inner/b") and shared_files.exists(place / "stays")
