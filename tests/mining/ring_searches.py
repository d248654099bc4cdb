"""Search with several processes in a ring and with this one alone; print the cases that differ.

torchrun --nproc_per_node 3 -m tests.mining.ring_searches FOLDER [--device]

With ``--device``, the processes of the ring use the engine for accelerators, on the CPU.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from pathlib import Path
from unittest import mock

import numpy as np

from hardpairs.core.errors import run_command
from hardpairs.core.progress import Progress
from hardpairs.core.ranks import Ranks, join
from hardpairs.mining import api, engine
from hardpairs.mining.api import Execution
from hardpairs.mining.engine import candidates, cuda
from hardpairs.mining.engine.device_memory import DeviceSizes
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.plan import Plan, make_plan
from tests.mining.searches import one_space, themed

COUNT = 330
CASES = {
    "both": {},
    "blocks of lists": {"list_block": 60},
    "one product block": {"tile": 500},
    "captions": {"method": "text", "min_text_score": 0.1},
    "weighted": {"image_weight": 0.3, "range_min": 2},
    "across": {"method": "cross-modal", "relative_margin": 0.1},
    "pool": {"approx": 70},
    "small pool": {"approx": 7, "list_block": 90},
    "pools": {"approx": 100, "approx_targets": 130},
    "clusters": {"candidates": "ivf", "target_recall": 0.5},
}


def small_plan(list_block: int | None, size: int, **sizes) -> Plan:
    """Return a plan of small pieces, whose rows travel where there are several processes."""
    sizes |= {"held": "ring", "tile": size, "product_block": size}
    plan = make_plan(**sizes)
    changed = {"visiting": min(plan.visiting, 24)}
    if plan.on_device:
        changed["on_device"] = 8 * size
    if list_block is not None:
        changed["list_block"] = list_block
    return dataclasses.replace(plan, **changed)


def data(case: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images, captions, groups and rows to leave out."""
    count = 830 if case == "clusters" else COUNT
    image, text = themed(count, 16), themed(count, 12, 1)
    if case == "across":
        image, text = one_space(count)
    image[100:180] = image[100]  # more near duplicates than a list has room for
    order = np.random.default_rng(0).permutation(count)
    return image[order], text[order], np.arange(count) // 3, np.array([3, 250])


@contextlib.contextmanager
def device_engines():
    """Let searches use the engine for accelerators, with eight ranges of rows on the device."""
    with contextlib.ExitStack() as stack:

        def change(module, name, value):
            stack.enter_context(mock.patch.object(module, name, value))

        for module in (api, engine):
            change(module, "is_accelerator", lambda device: True)
        for module in (cuda, candidates):
            change(module, "ROWS_AT_ONCE", 50)
        change(candidates, "CAPACITY", 1 << 12)
        change(api, "device_sizes", lambda **_: DeviceSizes(20, 160, 0, 0))
        yield


def differs(case: str, folder: Path, ranks: Ranks, on_device: bool) -> bool:
    """Tell whether the ring's result is another one."""
    changes = dict(CASES[case])
    plan = functools.partial(small_plan, changes.pop("list_block", None), changes.pop("tile", 20))
    image, text, groups, exclude = data(case)
    search = functools.partial(
        api.search, image, text, MiningOptions(top_k=5, **changes), groups=groups, exclude=exclude
    )
    every = 0 if case == "blocks of lists" else 60  # a commit after each step takes long
    progress = Progress(folder / case, {}, owner=ranks.rank == 0, every=every)
    execution = Execution(progress=progress, ranks=ranks)
    engines = contextlib.nullcontext()
    if on_device:
        execution = dataclasses.replace(execution, held="ring")
        engines = device_engines()
    with mock.patch.object(api, "make_plan", plan), engines:
        found = search(execution=execution)
    if found is None:
        return False
    alone = search(execution=Execution())
    assert alone.kept > 0 and sum(alone.removed.values()) > 0
    same = np.array_equal(found.indices, alone.indices) and np.array_equal(
        found.scores, alone.scores
    )
    return not (same and found.counts == alone.counts and found.recall == alone.recall)


def main() -> None:
    """Print the cases that differ, in one line."""
    ranks = join()
    folder, *flags = sys.argv[1:]
    wrong = [case for case in CASES if differs(case, Path(folder), ranks, bool(flags))]
    if ranks.rank == 0:
        print(f"wrong: {wrong}")
    ranks.close()


if __name__ == "__main__":
    run_command(main)
