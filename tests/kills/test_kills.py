"""Commands that are killed at any moment: the same command ends as if nothing had happened.

``HARDPAIRS_KILLS`` is the number of kills of the slow test (default 10,000), over all commands.
"""

from __future__ import annotations

import json
import os

import pytest

from tests.helpers import run

KILLS = int(os.environ.get("HARDPAIRS_KILLS", "10000"))
USUAL = {
    "checkpoint": (24, 8),
    "conversion": (10, 4),
    "split": (6, 2),
    "list-shards": (8, 2),
    "index": (5, 2),
    "embed": (4, 2),
}
"""Kills at file operations, and at random moments, in the usual run."""
SHARES = {"checkpoint": 4, "conversion": 3, "split": 3, "list-shards": 3, "index": 1, "embed": 1}
"""Parts of the slow test's kills at random moments; file operations are all taken."""


def killed(name: str, folder, *numbers: int) -> dict:
    """What ``tests.kills.kill`` found, in a process of its own."""
    words = (name, str(folder), *map(str, numbers))
    done = run("python", "-m", "tests.kills.kill", *words, timeout=24 * 3600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", USUAL)
def test_a_killed_command_ends_as_if_nothing_had_happened(name, memory_folder):
    found = killed(name, memory_folder, *USUAL[name], 0)
    assert found["faults"] == [] and found["killed"] > 2


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARES)
def test_many_kills(name, memory_folder):
    moments = KILLS * SHARES[name] // sum(SHARES.values())
    found = killed(name, memory_folder, 10_000, moments, 1)
    assert found["faults"] == [] and found["killed"] > moments // 2
