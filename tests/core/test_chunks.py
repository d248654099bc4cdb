"""Chunks: the bytes of the file, each requested once where they are read in order, and few held."""

from __future__ import annotations

import random
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from hardpairs.core import chunks
from hardpairs.core.chunks import AHEAD, MOST, Chunks

CONTENT = random.Random(0).randbytes(1003)


@pytest.fixture
def requested(monkeypatch):
    """First bytes of the requests; a chunk has ten bytes."""
    begun = []

    def request(url, offset, size):
        begun.append(offset)
        future: Future[bytes] = Future()
        future.set_result(CONTENT[offset : offset + size])
        return future

    monkeypatch.setattr(chunks, "CHUNK", 10)
    monkeypatch.setattr(chunks, "request_range", request)
    return begun


def read(held: Chunks, offset: int, count: int, url: str = "x://a") -> bytes:
    out = np.empty(count, np.uint8)
    held.read_into(out, url, offset, len(CONTENT))
    return out.tobytes()


def test_a_file_in_order(requested):
    held = Chunks()
    for start in range(0, len(CONTENT), 17):
        assert read(held, start, min(17, len(CONTENT) - start)) == CONTENT[start : start + 17]
        assert held.held_bytes <= 10 * MOST
        assert max(requested) <= start + 17 + 10 * AHEAD
    assert requested == [*range(0, len(CONTENT), 10)]


def test_three_files_at_once(requested):
    held = Chunks()
    for start in range(0, len(CONTENT), 4):
        for url in ("x://a", "x://b", "x://c"):
            read(held, start, min(4, len(CONTENT) - start), url)
    assert sorted(requested) == sorted(3 * [*range(0, len(CONTENT), 10)])


def test_places_apart_request_nothing_ahead(requested):
    held = Chunks()
    for start in (900, 305, 601):
        assert read(held, start, 4) == CONTENT[start : start + 4]
    assert requested == [900, 300, 600]
    assert read(held, 608, 4) == CONTENT[608:612]  # goes on from there
    assert requested[3:] == [610, 620, 630, 640, 650, 660, 670, 680]


def test_threads_and_files_share_the_chunks(requested):
    held, places = Chunks(), [(f"x://{i % 3}", 37 * i % 900) for i in range(300)]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda place: read(held, place[1], 60, place[0]), places)
        assert [*found] == [CONTENT[start : start + 60] for _, start in places]
    assert held.held_bytes <= 10 * MOST


def test_an_answer_of_another_length(monkeypatch, requested):
    with pytest.raises(ConnectionError, match="3 bytes came, not 10"):
        Chunks().read_into(np.empty(5, np.uint8), "x://a", 1000, 1010)
