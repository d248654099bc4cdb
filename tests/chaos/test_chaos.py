"""A run that is disturbed ends as one that is not.

``HARDPAIRS_CHAOS`` is the number of events of the long test (default 200).
"""

from __future__ import annotations

import json
import os

import pytest

from tests.helpers import run

EVENTS = int(os.environ.get("HARDPAIRS_CHAOS", "200"))
USUAL = "SIGTERM,kill a rank,full disk,clock,kill torchrun"


def found(module: str, *flags: object) -> dict:
    """What a module of these tests prints, in a process of its own."""
    done = run("python", "-m", module, *map(str, flags), timeout=24 * 3600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout[done.stdout.index("{") :])


@pytest.mark.slow
def test_a_disturbed_run_ends_with_the_same_bits():
    done = found("tests.chaos.chaos", "--epochs", 2, "--kinds", USUAL, "--script-share", 0)
    assert done["faults"] == [] and done["events"] > 2


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_many_events(processes):
    epochs = max(2, EVENTS // 8)
    done = found(
        "tests.chaos.chaos", "--processes", processes, "--epochs", epochs, "--events", EVENTS
    )
    assert done["faults"] == [] and done["events"] > 0.8 * EVENTS


@pytest.mark.slow
def test_the_others_end_when_a_process_is_lost():
    done = found("tests.chaos.lost", "--runs", 20)
    assert done["faults"] == [] and done["runs"] == 20
