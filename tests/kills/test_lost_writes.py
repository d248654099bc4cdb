"""After a crash that loses what was not flushed: what is taken for whole is, and the same command completes the rest.

``HARDPAIRS_CRASHES`` is the number of crashes of each command in the slow test (default 500).
"""

from __future__ import annotations

import os
import random

import pytest

from hardpairs.core.atomic import write_text
from tests.kills.lost_writes import crashes, record
from tests.kills.run import found_by

CRASHES = int(os.environ.get("HARDPAIRS_CRASHES", "500"))
USUAL = {"checkpoint": 12, "conversion": 40, "table": 40, "split": 16, "index": 3, "mine": 5}


def contents(main, folder, name: str) -> set[bytes | None]:
    """What a file of a folder may be after a crash at the end of a command; ``None``: it is lost."""
    (folder / "out").mkdir()
    steps, rng = record(main, folder / "out", folder / "log"), random.Random(0)
    trees = crashes(steps, len(steps) - 1, 100, rng)
    return {tree[name].content if name in tree else None for tree in trees}


def test_what_is_not_flushed_may_be_lost(tmp_path):
    path = tmp_path / "out/a"
    found = contents(lambda: path.write_text("ab") and 0, tmp_path, "out/a")
    assert found == {None, b"", b"a", b"ab", b"\0\0"}


def test_what_is_flushed_with_its_folder_is_there(tmp_path):
    path = tmp_path / "out/new/a"
    assert contents(lambda: write_text(path, "ab"), tmp_path, "out/new/a") == {b"ab"}


def test_a_file_alone_may_lose_its_name(tmp_path):
    def main() -> None:
        with open(tmp_path / "out/a", "w") as file:
            file.write("ab")
            file.flush()
            os.fsync(file.fileno())

    assert contents(main, tmp_path, "out/a") == {None, b"ab"}


@pytest.mark.parametrize("name", USUAL)
def test_a_crash_loses_nothing_that_was_finished(name, memory_folder):
    found = found_by("crash", name, memory_folder, USUAL[name], 0)
    assert found["faults"] == [] and found["crashes"] == USUAL[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*USUAL, "embed"])
def test_many_crashes(name, memory_folder):
    assert found_by("crash", name, memory_folder, CRASHES, 1)["faults"] == []
