"""Damaged files: 5,000 in every run of the tests, ``HARDPAIRS_FUZZ`` (200,000) in a slow one.

A failure names the reader and the seed; ``mutated(reader.whole, seed, reader.more)`` makes its file
again. ``python -m benchmarks.fuzz`` writes the figures of docs/reliability.md.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fuzz.check import check
from tests.fuzz.reader import Reader
from tests.fuzz.readers import files_of

FILES = 5_000
MANY = int(os.environ.get("HARDPAIRS_FUZZ", "200000"))


def wrong(folder: Path, count: int) -> list[str]:
    outcomes = check(folder, count)
    assert sum(files for files, _ in outcomes.values()) >= count
    return [f"{name}, {fault}" for name, (_, faults) in outcomes.items() for fault in faults]


def test_damaged_files(memory_folder):
    assert wrong(memory_folder, FILES) == []


@pytest.mark.slow
def test_many_damaged_files(memory_folder):
    assert wrong(memory_folder, MANY) == []


def test_files_are_shared():
    fast, slow = (Reader(name, b"", str, share=share) for name, share in (("a", 4), ("b", 1)))
    assert files_of([fast, slow], 10) == {"a": 8, "b": 2}
