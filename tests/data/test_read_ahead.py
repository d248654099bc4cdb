"""Members behind URLs that are requested ahead: each once, and never more than the bound."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from hardpairs.data import read_ahead
from hardpairs.data.opening import open_samples
from hardpairs.data.read_ahead import ByteRange, ReadAhead
from tests.file_server import Ranges, serving


@pytest.fixture
def requested(monkeypatch):
    """The ranges that were requested; their bytes are there at once."""
    ranges = []

    def request(*one):
        ranges.append(ByteRange(*one))
        future = Future()
        future.set_result(bytes(one[2]))
        return future

    monkeypatch.setattr(read_ahead, "request_range", request)
    return ranges


def test_what_is_held_keeps_to_the_bound(requested):
    ahead, ranges = (
        ReadAhead(100),
        [ByteRange("u", 10 * i, size) for i, size in enumerate((60, 50, 40))],
    )
    ahead.begin(ranges)
    assert requested == [ranges[0], ranges[2]] and ahead.held_bytes == 100
    assert ahead.take(ranges[1]) is None and len(ahead.take(ranges[0])) == 60
    assert ahead.held_bytes == 40 and ahead.take(ranges[0]) is None  # each is taken once
    ahead.begin(ranges[1:])
    assert requested == [ranges[0], ranges[2], ranges[1]] and ahead.held_bytes == 90


def test_what_is_not_wanted_any_more_is_forgotten(requested):
    ahead, ranges = ReadAhead(100), [ByteRange("u", 10 * i, 30) for i in range(6)]
    ahead.begin(ranges[:3])
    ahead.begin(ranges[2:5])
    assert ahead.held_bytes == 90 and ahead.take(ranges[0]) is None
    assert requested == ranges[:5]  # none twice
    ahead.begin([])
    assert ahead.held_bytes == 0


def test_images_of_tars_over_http_are_requested_once(shards, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    local, rows = open_samples(shards), [0, 19, 7, 12]
    with serving(tmp_path, Ranges) as url:
        remote = open_samples(f"{url}/shards/{{00000..00002}}.tar", allow_remote=True)
        before = Ranges.asked
        remote.read_ahead([*rows, 9, 11])  # row 9 has no image, row 11 is not taken
        assert [remote.image_bytes(row) for row in rows] == [local.image_bytes(row) for row in rows]
        remote.read_ahead([11])
        assert remote.image_bytes(11) == local.image_bytes(11)
        assert remote.image_bytes(5) == local.image_bytes(5)  # without having been requested
    assert Ranges.asked == before + len(rows) + 2
