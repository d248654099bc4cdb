"""Commands that are killed at any moment: the same command ends as if nothing had happened.

``HARDPAIRS_KILLS`` is the number of kills of the slow test (default 10,000), over all commands.
"""

from __future__ import annotations

import os

import pytest

from tests.helpers import run
from tests.kills.run import SHARES, found_by, pieces
from tests.kills.scenarios import SCENARIOS

KILLS = int(os.environ.get("HARDPAIRS_KILLS", "10000"))
POINTS = 100
"""Kills of the usual run."""
USUAL = {
    "checkpoint": (4, 8),
    "conversion": (7, 13),
    "url-index": (3, 5),
    "format-news": (3, 5),
    "table": (5, 8),
    "split": (6, 11),
    "list-shards": (6, 12),
    "export": (4, 9),
    "link": (1, 2),
    "evaluate and retrieve": (1, 2),
    "report": (1, 2),
    "index": (2, 4),
    "embed": (3, 5),
    "embed on 1 to 3 processes": (1, 3),
    "mine": (2, 4),
    "mine on 1 to 3 processes": (1, 3),
    "mine in a ring": (1, 3),
    "train on 2 processes": (1, 1),
}
"""Kills at file operations, and in all. The commands that are missing are killed in the slow test alone."""


def test_the_points_are_those_that_are_stated():
    assert sum(kills for _, kills in USUAL.values()) == POINTS
    assert sum(kills for *_, kills in pieces(10_000)) >= 10_000
    assert {*USUAL} <= {*SHARES} == {*SCENARIOS} and sum(SHARES.values()) == 100


def test_what_is_forked_most_is_small():
    """Every fork copies what its parent has imported; most commands here need no PyTorch."""
    told = "import sys, tests.kills.scenarios; print('torch' in sys.modules)"
    assert run("python", "-c", told, fresh=True).stdout.split() == ["False"]


@pytest.mark.parametrize("name", USUAL)
def test_a_killed_command_ends_as_if_nothing_had_happened(name, memory_folder):
    found = found_by("kill", name, memory_folder, *USUAL[name], 0)
    assert found["faults"] == [] and found["killed"] >= USUAL[name][1]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed", "kills"), [*pieces(KILLS)])
def test_many_kills(name, seed, kills, memory_folder):
    found = found_by("kill", name, memory_folder, kills // 2, kills, seed)
    assert found["faults"] == [] and found["killed"] >= kills
