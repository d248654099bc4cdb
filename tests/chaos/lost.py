"""Kill or stop a process of a run at a random time: the others end with 7 in time and leave nothing.

    python -m tests.chaos.lost --runs 20 --out benchmarks/results/lost.json

In turns a run trains and mines, on two to four processes without torchrun, which would end the
others itself. Which process is lost, how and when follow from the seed.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tests.preloaded  # noqa: F401  what the forks need
from benchmarks.machine import describe_machine
from hardpairs.core.errors import Exit
from tests.chaos.chaos import LIMIT, PEER_TIMEOUT, make_data, send
from tests.chaos.job import adopt_orphans, left
from tests.helpers import ROOT
from tests.processes import fork_here

LONG = 8.0
"""Seconds of a run within which a process is lost; some of them pass before the processes meet."""
BATCH = 12
"""Rows of a batch on all processes: a run goes on with the same number alone."""
SLOW = "0.5"
"""Seconds that the disk takes to flush a file: mining would be done too soon."""
TOLD = re.compile(r"^error: (.*)", re.MULTILINE)


def training(folder: Path, processes: int) -> list[str]:
    """Return a command that trains for minutes, or goes on, with as many rows on all processes."""
    flags = "--csv-separator , --model hardpairs-test --device cpu --precision fp32 --workers 1 "
    flags += "--batching random --epochs 1000 --warmup 1 --save-frequency 0 "
    flags += f"--batch-size {BATCH // processes} --train-data {folder}/data/pairs.csv "
    flags += f"--save-every-steps 3 --logs {folder}/logs --name run --resume latest"
    return ["train", *flags.split()]


def make_embeddings(folder: Path) -> None:
    """Write embeddings of random pairs."""
    rng = np.random.default_rng(0)
    for kind in ("img_emb", "text_emb"):
        (folder / f"emb/{kind}").mkdir(parents=True)
        vectors = rng.normal(size=(6000, 32)).astype(np.float32)
        np.save(folder / f"emb/{kind}/{kind}_0.npy", vectors)


def mining(folder: Path, _: int) -> list[str]:
    """Return a command that mines for longer than the time in which a process is lost."""
    flags = f"--dataset x --embeddings {folder}/emb --save-path {folder}/mined --topk 5"
    return ["mine", *flags.split(), "--commit-seconds", "0", "--device", "cpu"]


def start(command: Sequence[str], folder: Path, processes: int) -> tuple[list[int], list[Path]]:
    """Start a command on several processes, and return them and the files of what they tell."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {"CHAOS": str(folder), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    env |= {"WORLD_SIZE": str(processes), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    line = ("python", "-m", "tests.chaos.rank", *command, "--peer-timeout", str(PEER_TIMEOUT))
    told = [folder / f"told{rank}" for rank in range(processes)]
    for path in told:
        path.unlink(missing_ok=True)
    pids = [
        fork_here(line, {**env, "RANK": str(rank), "LOCAL_RANK": str(rank)}, ROOT, path)
        for rank, path in enumerate(told)
    ]
    return pids, told


def has_exited(pid: int) -> bool:
    """Return whether a child has ended, which somebody still waits for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def codes_of(pids: Sequence[int]) -> list[int | None]:
    """Return the exit codes of processes, ``None`` for one that does not end in time."""
    codes: dict[int, int | None] = dict.fromkeys(pids)
    end = time.monotonic() + LIMIT
    while None in codes.values() and time.monotonic() < end:
        time.sleep(0.05)
        for pid in [pid for pid, code in codes.items() if code is None]:
            ended, status = os.waitpid(pid, os.WNOHANG)
            codes[pid] = os.waitstatus_to_exitcode(status) if ended else None
    return [*codes.values()]


def lose(
    command: Sequence[str], folder: Path, processes: int, rng: random.Random
) -> dict[str, Any]:
    """Lose a process of a run, and return what the others did.

    Args:
        command: Of hardpairs, with its flags.
        folder: Of data and messages.
        processes: Their number.
        rng: Chooses the process, the signal and the time.
    """
    pids, told = start(command, folder, processes)
    time.sleep(rng.random() * LONG)
    victim, how = rng.randrange(processes), rng.choice((signal.SIGKILL, signal.SIGSTOP))
    is_early = any(map(has_exited, pids))
    send(pids[victim], how)
    began = time.monotonic()
    others = [pid for pid in pids if pid != pids[victim]]
    codes = codes_of(others)
    seconds = time.monotonic() - began
    for pid, code in zip([pids[victim], *others], [None, *codes], strict=True):
        if code is None:
            send(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    remaining = left(LIMIT)
    for pid in remaining:
        send(pid, signal.SIGKILL)
    texts = [path.read_text(errors="replace") for path in told]
    messages = "".join(text for rank, text in enumerate(texts) if rank != victim)
    is_right = {*codes} == {Exit.PEER_FAILED} and not (is_early or remaining)
    is_right = is_right and "Traceback" not in messages
    return {
        "command": command[0],
        "processes": processes,
        "lost": f"rank {victim}",
        "by": how.name,
        "codes": codes,
        "seconds": round(seconds, 1),
        "ended_before": is_early,
        "left": len(remaining),
        "is_named": f"process {victim} " in messages,
        "told": sorted({*TOLD.findall(messages)}),
        "fault": "" if is_right else "\n---\n".join(text[-1500:] for text in texts),
    }


def lost(count: int, seed: int) -> dict[str, Any]:
    """Lose a process of each of some runs, and return what happened.

    Args:
        count: Number of runs.
        seed: Of the processes that are lost, and of when and how.
    """
    torch.set_num_threads(1)
    adopt_orphans()
    rng, runs = random.Random(seed), []
    folder = Path(tempfile.mkdtemp(prefix="lost-"))  # forks would remove a TemporaryDirectory
    try:
        make_data(folder / "data")
        make_embeddings(folder)
        (folder / "slow").write_text(SLOW)
        for number in range(count):
            processes, command = rng.randint(2, 4), (training, mining)[number % 2]
            runs.append(lose(command(folder, processes), folder, processes, rng))
    finally:
        shutil.rmtree(folder)
    return {
        "peer_timeout_s": PEER_TIMEOUT,
        "limit_s": LIMIT,
        "runs": len(runs),
        "by_event": collections.Counter(f"{run['command']}: {run['by']}" for run in runs),
        "slowest_s": max(run["seconds"] for run in runs),
        "named": sum(run["is_named"] for run in runs),
        "faults": [run for run in runs if run["fault"]],
        "each": [{name: value for name, value in run.items() if name != "fault"} for run in runs],
    }


def main() -> None:
    """Lose processes, print what happened, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out")
    args = parser.parse_args()
    found = lost(args.runs, args.seed)
    print(json.dumps(found, indent=1))
    if args.out:
        out = {"machine": describe_machine(), **found}
        Path(args.out).write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
