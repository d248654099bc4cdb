"""Ranges of bytes behind URLs: the same bytes as on disk, whatever fails now and then."""

from __future__ import annotations

import random

import pytest
from upath import UPath

from hardpairs.core import ranges
from hardpairs.core.ranges import request_range
from tests.file_server import Down, Flaky, Ranges, serving

CONTENT = random.Random(0).randbytes(10_000)
PLACES = [(7 * i, 100 + i) for i in range(60)]


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(ranges, "WAITS", (0.0,) * len(ranges.WAITS))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    return tmp_path


def assert_same(url):
    begun = [request_range(url, offset, size) for offset, size in PLACES]  # all on their way
    assert [each.result() for each in begun] == [CONTENT[at : at + size] for at, size in PLACES]
    assert request_range(url).result() == CONTENT
    assert request_range(url, 9_900).result() == CONTENT[9_900:]


def test_failed_requests_are_made_again(folder):
    with serving(folder, Flaky) as url:
        assert_same(f"{url}/a.bin")
        assert Flaky.failed >= len(PLACES) / 3


def test_a_file_system_without_a_loop_of_its_own():
    file = UPath("memory://ranges/a.bin")
    file.write_bytes(CONTENT)
    assert_same(str(file))


def test_a_server_that_always_fails_is_asked_some_times(folder):
    with serving(folder, Down) as url:
        with pytest.raises(ConnectionError, match=r"a\.bin.*503"):
            request_range(f"{url}/a.bin", 0, 10).result()
        assert Down.asked == 1 + len(ranges.WAITS)


def test_a_file_that_is_not_there_is_asked_for_once(folder):
    with serving(folder, Ranges) as url:
        with pytest.raises(FileNotFoundError):
            request_range(f"{url}/b.bin", 0, 10).result()
        assert Ranges.asked == 1


@pytest.mark.parametrize(("status", "may"), [(429, True), (500, True), (403, False), (416, False)])
def test_answers_that_may_pass(status, may):
    error = OSError()
    error.status = status
    assert ranges.may_pass(error) is may
