"""Files behind URLs that are written: whole or not at all, and refused clearly."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from hardpairs.core import remote
from hardpairs.core.atomic import atomic_open, write_json
from hardpairs.core.errors import Exit, UserError
from hardpairs.core.remote_writing import (
    create,
    open_whole,
    output_folder,
    remove,
    remove_folder,
)
from tests.object_store import make_store


@pytest.fixture
def store(tmp_path, monkeypatch):
    return make_store(tmp_path.name, monkeypatch)


def test_a_file_appears_when_it_is_whole(store):
    path = store / "folder/numbers.bin"
    for content in (b"first", b"x" * 3_000_000, b""):
        with atomic_open(path) as file:
            file.write(content)
            file.write(memoryview(bytearray(b"ab")))
            assert not path.exists() or path.read_bytes() != content + b"ab"
        assert path.read_bytes() == content + b"ab"
    with pytest.raises(RuntimeError), atomic_open(path) as file:
        file.write(b"y" * 3_000_000)
        raise RuntimeError
    assert path.read_bytes() == b"ab"
    assert not path.fs.transaction.files
    write_json(store / "key.json", {"seed": 0})
    assert (store / "key.json").read_text() == '{\n  "seed": 0\n}\n'


def test_what_is_removed_is_gone_and_removing_nothing_is_no_error(store):
    for name in ("a", "b/c", "b/d/e"):
        (store / name).write_bytes(b"")
    remove(store / "a")
    remove(store / "a")
    assert not (store / "a").exists() and (store / "b/c").exists()
    for _ in range(2):
        remove_folder(store / "b")
        assert not (store / "b/d/e").exists()


def test_names_of_output_folders(tmp_path):
    assert output_folder("some/folder") == Path("some/folder")
    assert output_folder(f"file://{tmp_path}/e") == tmp_path / "e"
    folder = output_folder(UPath("memory://bucket/e"))
    assert str(folder) == "memory://bucket/e"
    assert folder.storage_options["use_listings_cache"] is False
    assert output_folder(folder).storage_options == folder.storage_options
    for name, says in (
        ("https://host/e", "takes no files"),
        ("nothing://e", "cannot be used"),
        ("memory://bucket/x[1]/e*", r"characters of a pattern: \* \["),
        (UPath("memory://bucket/e", endpoint="here"), "options of its own: endpoint"),
    ):
        with pytest.raises(UserError, match=says) as error:
            output_folder(name)
        assert error.value.code == Exit.USAGE and str(name) in error.value.where


@pytest.mark.parametrize("refusal", [PermissionError("no access"), FileNotFoundError("no bucket")])
def test_a_server_that_refuses_is_named(store, monkeypatch, refusal):
    def refuse(*_, **__):
        raise refusal

    for name in ("open", "pipe_file"):
        monkeypatch.setattr(MemoryFileSystem, name, refuse)
    with pytest.raises(UserError, match=str(refusal)) as error, atomic_open(store / "a"):
        pass
    assert error.value.code == Exit.BAD_INPUT and error.value.where == str(store / "a")
    with pytest.raises(UserError, match=str(refusal)):
        create(store / "a", b"")


def test_a_store_that_names_its_refusal_otherwise_makes_one_file(store, monkeypatch):
    pipe, exists = MemoryFileSystem.pipe_file, MemoryFileSystem.exists
    looks = []

    def refuse(self, path, value, mode="overwrite", **options):
        if mode == "create" and exists(self, path):
            raise OSError("412")
        pipe(self, path, value, **options)

    def late(self, path, **options):  # the other process makes it after the first look
        looks.append(path)
        return len(looks) % 2 == 0 and exists(self, path, **options)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    assert create(store / "a", b"1")
    monkeypatch.setattr(MemoryFileSystem, "exists", late)
    looks.clear()
    assert not create(store / "a", b"2") and len(looks) == 2
    assert (store / "a").read_bytes() == b"1"


def test_a_store_without_exclusive_creation_keeps_what_is_there(store, monkeypatch):
    pipe = MemoryFileSystem.pipe_file
    monkeypatch.setattr(
        MemoryFileSystem, "pipe_file", lambda self, path, value, mode=None: pipe(self, path, value)
    )
    assert create(store / "a", b"1") and not create(store / "a", b"2")
    assert (store / "a").read_bytes() == b"1"


@pytest.mark.parametrize(("needed", "parts"), [(None, None), (10**9, None), (9 * 10**11, 9_000)])
def test_a_very_large_file_is_sent_in_parts_that_a_store_can_count(
    store, monkeypatch, needed, parts
):
    found = {}
    opened = MemoryFileSystem.open

    def noted(self, *arguments, **options):
        found.update(options)
        return opened(self, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "open", noted)
    with open_whole(store / "a", needed):
        pass
    block = found.get("block_size")
    assert (block is None) == (parts is None)
    if block:
        assert block % (1 << 20) == 0 and needed / parts <= block < 1.1 * needed / parts


def test_an_upload_that_breaks_off_leaves_nothing(store, monkeypatch):
    class Broken(io.BytesIO):
        left, discarded = 1, False

        def write(self, data):
            assert not self.discarded, "written after its end"
            self.left -= 1
            if self.left < 0:
                raise ConnectionError("reset")
            return super().write(data)

        def discard(self):
            self.discarded = True

    files = []

    def open_broken(self, *_, **__):
        files.append(Broken())
        self.transaction.files.append(files[-1])
        return files[-1]

    monkeypatch.setattr(MemoryFileSystem, "open", open_broken)
    with pytest.raises(UserError, match="reset") as error, atomic_open(store / "a") as file:
        for _ in range(4):
            file.write(b"x" * 2_000_000)
    file.close()  # as when it is collected: nothing is sent any more
    assert error.value.code == Exit.BAD_INPUT and files[0].discarded


def test_a_request_that_fails_is_made_again(store, monkeypatch):
    monkeypatch.setattr(remote.ranges, "WAITS", (0.0, 0.0))
    answers = [ConnectionError("busy"), ConnectionError("busy"), None]
    pipe = MemoryFileSystem.pipe_file

    def sometimes(self, *arguments, **options):
        if error := answers.pop(0):
            raise error
        return pipe(self, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", sometimes)
    assert create(store / "a", b"1") and not answers
    answers += [None]
    assert not create(store / "a", b"2") and (store / "a").read_bytes() == b"1"
