"""Embeddings found by file and by content, and the parts of an interrupted run."""

from __future__ import annotations

import hashlib

import numpy as np

from hardpairs.core.progress import Progress
from hardpairs.photos.embedding_cache import EmbeddingCache, load_parts, save_part
from hardpairs.photos.scan import PhotoFile
from hardpairs.photos.table import NO_DIGEST, Row, Table


def part(*names: str, start: float = 0, unreadable: tuple[str, ...] = ()):
    """Return photos whose content is the last letter of their name, embeddings, and other files."""
    photos = [
        Row(PhotoFile(name, "", -1, 1, 1), hashlib.sha256(name[-1].encode()).digest(), "")
        for name in names
    ]
    vectors = np.arange(len(names) * 2, dtype=np.float32).reshape(-1, 2) + np.float32(start)
    bad = [Row(PhotoFile(name, "", -1, 1, 1), NO_DIGEST, "empty_image") for name in unreadable]
    return Table.of(photos), vectors, Table.of(bad)


def test_the_last_part_has_a_file_and_the_first_a_content():
    cache = EmbeddingCache()
    assert cache.width == 0
    cache.add(*part("/1/a", "/1/b"))
    cache.add(*part("/1/b", "/2/a", start=10, unreadable=("/1/c",)))
    assert cache.by_file["/1/a", ""][1] == (0, 0) and cache.by_file["/1/b", ""][1] == (1, 0)
    assert cache.by_digest[hashlib.sha256(b"a").digest()] == (0, 0)
    assert cache.digest((1, 1)) == hashlib.sha256(b"a").digest()
    assert cache.unreadable["/1/c", ""][1] == "empty_image" and cache.width == 2


def test_vectors_come_in_the_order_asked_for_a_block_at_a_time(monkeypatch):
    monkeypatch.setattr("hardpairs.photos.embedding_cache.BLOCK_ROWS", 2)
    cache = EmbeddingCache()
    cache.add(*part("/a", "/b"))
    cache.add(*part("/c", start=10))
    blocks = list(cache.vectors([(1, 0), (0, 1), (0, 0)]))
    assert [block.tolist() for block in blocks] == [[[10, 11], [2, 3]], [[0, 1]]]


def test_parts_of_an_interrupted_run_come_back_but_damaged_ones(tmp_path):
    progress = Progress(tmp_path / "unfinished", {}, kind="index")
    for name, start in (("/a", 0), ("/b", 10), ("/c", 20)):
        save_part(progress, *part(name, start=start, unreadable=(f"{name}x",)))
    damaged = sorted((tmp_path / "unfinished").glob("*.npz"))[1]
    damaged.write_bytes(damaged.read_bytes()[:-40])
    cache = EmbeddingCache()
    load_parts(progress, cache)
    assert set(cache.by_file) == {("/a", ""), ("/c", "")}
    assert set(cache.unreadable) == {("/ax", ""), ("/cx", "")}
    assert cache.parts[1][1].tolist() == [[20, 21]]
