"""Rows behind URLs are those of the file on disk, whatever fails now and then, and few are held."""

from __future__ import annotations

import hashlib
import tracemalloc

import numpy as np
import pytest
from upath import UPath

from hardpairs.core import chunks, ranges
from hardpairs.core.errors import UserError
from hardpairs.data import remote_rows
from hardpairs.data.embedding_parts import load_array
from hardpairs.data.remote_rows import blocks_in_order, is_remote
from hardpairs.data.stacked import Stacked
from tests.file_server import Down, Ranges, Refusing, Seldom, WholeFiles, in_memory, serving

ROWS = np.random.default_rng(0).normal(size=(500, 24))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chunks of some rows, gaps of few, and no waits."""
    monkeypatch.setattr(ranges, "WAITS", (0.0,) * len(ranges.WAITS))
    monkeypatch.setattr(chunks, "CHUNKS", chunks.Chunks())
    monkeypatch.setattr(remote_rows, "CHUNKS", chunks.CHUNKS)
    for module in (chunks, remote_rows):
        monkeypatch.setattr(module, "CHUNK", 1000)
    monkeypatch.setattr(remote_rows, "GAP", 400)


def assert_same(rows, expected):
    assert rows.shape == expected.shape and rows.dtype == expected.dtype and is_remote(rows)
    rng = np.random.default_rng(1)
    for which in (
        *(slice(0, 0), slice(3, 4), slice(17, 260), slice(None), slice(490, 900), slice(9, 300, 7)),
        *(rng.permutation(500), rng.choice(500, 60), np.array([], np.int64), np.array([-1, 3, 3])),
        *(np.arange(100, 300), ROWS[:, 0] > 1),
    ):
        assert np.array_equal(rows[which], expected[which])
    with pytest.raises(IndexError):
        rows[np.array([500])]
    assert b"".join(block.tobytes() for block in blocks_in_order(rows, 64)) == expected.tobytes()


@pytest.mark.parametrize("kind", [np.float16, ">f4"])
def test_rows_of_a_server_that_fails_now_and_then(kind, tmp_path):
    np.save(tmp_path / "a.npy", ROWS.astype(kind))
    with serving(tmp_path, Seldom) as url:
        assert_same(load_array(f"{url}/a.npy"), ROWS.astype(kind))
        assert Seldom.failed >= 3


def test_rows_in_memory_and_in_parts(tmp_path):
    for part, own in enumerate((slice(0, 180), slice(180, 500))):
        np.save(tmp_path / f"{part}.npy", ROWS[own])
    parts = [load_array(f"{in_memory(tmp_path)}/{part}.npy") for part in range(2)]
    assert_same(Stacked(parts), ROWS)


def test_few_rows_are_few_bytes(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    with serving(tmp_path, Ranges) as url:
        rows = load_array(f"{url}/a.npy")
        before = Ranges.sent, Ranges.asked
        assert np.array_equal(rows[np.array([400, 7, 200, 8])], ROWS[[400, 7, 200, 8]])
        assert (Ranges.sent - before[0], Ranges.asked - before[1]) == (4 * 24 * 8, 3)


def test_a_block_takes_its_own_memory_and_some_chunks(monkeypatch):
    for module in (chunks, remote_rows):
        monkeypatch.setattr(module, "CHUNK", 1 << 15)
    whole = np.zeros((100_000, 24), np.float32)  # 9.6 MB
    file = UPath("memory://remote_rows/a.npy")
    with file.open("wb") as out:
        np.save(out, whole)
    rows = load_array(str(file))
    tracemalloc.start()
    try:
        for start in range(0, len(rows), 2000):
            assert not rows[start : start + 2000].any()  # .2 MB
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < chunks.MOST * (1 << 15) + 2 * 2000 * 96 + 300_000


def test_a_file_that_was_changed(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    data = bytearray((tmp_path / "a.npy").read_bytes())
    digest = hashlib.sha256(data).hexdigest()
    rows = load_array(f"{in_memory(tmp_path)}/a.npy", digest)
    assert sum(map(len, blocks_in_order(rows, 100))) == 500
    data[5000] ^= 1
    (tmp_path / "a.npy").write_bytes(data)
    rows = load_array(f"{in_memory(tmp_path)}/a.npy", digest)
    chunks.CHUNKS._chunks.clear()
    with pytest.raises(UserError, match="sha256 is not the manifest's") as error:
        [*blocks_in_order(rows, 100)]
    assert error.value.code == 4


def saved(rows: np.ndarray, cut: int | None = None):
    return lambda path: (np.save(path, rows), path.write_bytes(path.read_bytes()[:cut]))


@pytest.mark.parametrize(
    ("handler", "make", "says", "code"),
    [
        (Ranges, lambda path: None, "no such file", 2),
        (Refusing, saved(ROWS), "does not answer.*403", 3),
        (Down, saved(ROWS), "does not answer.*503", 3),
        (WholeFiles, saved(ROWS), "not ranges of bytes", 3),
        (Ranges, saved(ROWS, -5), "has 96123 bytes, and its header says 96128", 3),
        (Ranges, saved(ROWS, 60), "not a readable .npy", 3),
        (Ranges, saved(ROWS, 2), "not a readable .npy", 3),
        (Ranges, lambda path: path.write_text("<html>" * 99), "not a readable .npy", 3),
        (Ranges, saved(ROWS.astype(int)), "2-d floating array, not 2-d int64", 3),
        (Ranges, saved(ROWS[0]), "not 1-d", 3),
        (Ranges, saved(np.asfortranarray(ROWS)), "holds columns", 3),
        (Ranges, saved(ROWS[:, :0]), "without numbers", 3),
    ],
)
def test_what_cannot_be_read(handler, make, says, code, tmp_path):
    make(tmp_path / "a.npy")
    with serving(tmp_path, handler) as url, pytest.raises(UserError, match=says) as error:
        load_array(f"{url}/a.npy")
    assert error.value.code == code and error.value.where == f"{url}/a.npy"


@pytest.mark.parametrize("which", [slice(0, 400), np.array([0, 100, 499])])
def test_a_server_that_ends_meanwhile(which, tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    with serving(tmp_path, Ranges) as url:
        rows = load_array(f"{url}/a.npy")
        (tmp_path / "a.npy").rename(tmp_path / "b.npy")
        with pytest.raises(UserError, match="no longer there") as error:
            rows[which]
        assert error.value.code == 3
        (tmp_path / "b.npy").rename(tmp_path / "a.npy")
        rows = load_array(f"{url}/a.npy?again")
    with pytest.raises(UserError, match="does not answer") as error:
        rows[which]
    assert error.value.code == 3
