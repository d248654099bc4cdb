"""Processes that wait for one that is no longer there."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from hardpairs.core.errors import Exit
from hardpairs.core.ranks import Ranks
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


HANDS_OVER = """
import os
import numpy as np
import torch.distributed as distributed
import torch.testing._internal.distributed.fake_pg  # registers "fake"
from hardpairs.core.ranks import Ranks

rank, port = int(os.environ["RANK"]), int(os.environ["MASTER_PORT"])
store = distributed.TCPStore("127.0.0.1", port, 2, rank == 0)
# The group of a training run on GPUs sends nothing that is in main memory. This one sends nothing.
distributed.init_process_group("fake", rank=rank, world_size=2, store=store)
ranks = Ranks(rank, 2)
highest, order = np.array([rank, -rank]), np.arange(4) * (1 - rank)
ranks.maximum(highest)
ranks.take_first(order)
assert highest.tolist() == [1, 0] and order.tolist() == [0, 1, 2, 3]
assert ranks.of_first(lambda: {"rank": rank}) == {"rank": 0}
rows = [each.tolist() for each in ranks.gather(np.full((rank + 1, 2), rank, np.uint16), [1, 2])]
assert rows == [[[0, 0]], [[1, 1], [1, 1]]]
assert ranks.of_all(np.arange(5)[slice(*ranks.share(0, 5))], 5).tolist() == [0, 1, 2, 3, 4]
ranks.barrier()
"""


def two_processes(code: str, *arguments: str) -> list[Popen]:
    """Run Python code in two processes that know of each other, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}",
    }
    return [
        Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            env={**os.environ, **where, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            text=True,
        )
        for rank in range(2)
    ]


def test_arrays_go_by_gloo_whatever_the_run_has_beside_it():
    ranks = two_processes(HANDS_OVER)
    told = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], told


def test_shares_follow_each_other_and_hold_all():
    ranks = [Ranks(rank, 3) for rank in range(3)]
    assert ranks[1].shares(10, 17) == [each.share(10, 17) for each in ranks]
    assert ranks[1].shares(10, 17) == [(10, 12), (12, 14), (14, 17)]


@pytest.mark.parametrize("leaver", [0, 1])
def test_a_process_that_has_stopped_is_named_as_the_reason(leaver):
    ranks = two_processes(LEAVES, str(leaver))
    told = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [
        3 if rank == leaver else Exit.PEER_FAILED for rank in range(2)
    ], told
    assert (
        "another process of this run has stopped" in told[1 - leaver]
        and "Traceback" not in told[1 - leaver]
    )
