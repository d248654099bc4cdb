"""After a crash that loses what was not flushed: what can be read is whole, and the same command completes it.

``HARDPAIRS_CRASHES`` is the number of crashes of each command in the slow test (default 300).
"""

from __future__ import annotations

import json
import os

import pytest

from tests.helpers import run

CRASHES = int(os.environ.get("HARDPAIRS_CRASHES", "300"))
USUAL = {"checkpoint": 60, "conversion": 30, "split": 30, "index": 8, "mine": 6}


def crashed(name: str, folder, count: int, seed: int) -> dict:
    """What ``tests.kills.crash`` found, in a process of its own."""
    words = (name, str(folder), str(count), str(seed))
    done = run("python", "-m", "tests.kills.crash", *words, timeout=24 * 3600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", USUAL)
def test_a_crash_loses_nothing_that_was_finished(name, memory_folder):
    found = crashed(name, memory_folder, USUAL[name], 0)
    assert found["faults"] == [] and found["crashes"] == USUAL[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*USUAL, "embed"])
def test_many_crashes(name, memory_folder):
    assert crashed(name, memory_folder, CRASHES, 1)["faults"] == []
