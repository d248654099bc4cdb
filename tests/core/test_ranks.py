"""Processes that wait for one that is no longer there."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from hardpairs.core.errors import Exit
from tests.helpers import ROOT
from tests.processes import Popen

LEAVES = """
import os, sys
import numpy as np
from hardpairs.core.errors import run_command
from hardpairs.core.ranks import join

def main():
    ranks = join()
    if ranks.rank == int(sys.argv[1]):
        os._exit(3)
    for meet in (ranks.barrier, lambda: ranks.maximum(np.zeros(2, np.float32))):
        meet()

run_command(main)
"""


@pytest.mark.parametrize("leaver", [0, 1])
def test_a_process_that_has_stopped_is_named_as_the_reason(leaver):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}",
    }
    line = [sys.executable, "-c", LEAVES, str(leaver)]
    ranks = [
        Popen(
            line,
            cwd=ROOT,
            env={**os.environ, **where, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            text=True,
        )
        for rank in range(2)
    ]
    told = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [
        3 if rank == leaver else Exit.PEER_FAILED for rank in range(2)
    ], told
    assert (
        "another process of this run has stopped" in told[1 - leaver]
        and "Traceback" not in told[1 - leaver]
    )
