"""Restart and processes: whatever happens on the way, the same bytes."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.mining import sweep
from hardpairs.mining.work import Work
from tests.helpers import ROOT, run, torchrun
from tests.mining.command import mine
from tests.mining.test_search import themed

COMMAND = ("-m", "mining.hard_pair_mining")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    """A folder with embeddings of 9,000 pairs, the flags to mine them, and the output without interruption."""
    folder = tmp_path_factory.mktemp("mined")
    image, text = themed(9000, 64, themes=60), themed(9000, 48, 1, themes=60)
    image[100:140] = image[60:100]
    np.save(folder / "a.npy", image)
    np.save(folder / "b.npy", text)
    files = (
        "--image-embeddings",
        str(folder / "a.npy"),
        "--text-embeddings",
        str(folder / "b.npy"),
    )
    flags = ("--dataset", "x", "--topk", "10", "--range-min", "1", *files)
    done = mine(*flags, "--save_path", folder / "whole")
    assert done.returncode == 0, done.stderr
    return folder, flags, output(folder / "whole")


def output(folder):
    names = (
        "x_hard_sample.csv",
        "x_hard_sample_dict.json",
        "x_hard_pairs/manifest.json",
        "x_hard_pairs/scores.npy",
    )
    assert not (folder / ".x.work").exists()
    return [(folder / name).read_bytes() for name in names]


def killed(line, out, attempt) -> bool:
    """Starts a command and kills it shortly after it has committed something; whether it was still running then."""
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.DEVNULL)
    before = committed(out)
    while process.poll() is None and committed(out) == before:
        time.sleep(0.002)
    time.sleep(random.Random(attempt).random() * 0.05)
    running = process.poll() is None
    for pid in [*children(process.pid), process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return process.wait() != 0 and running


def children(pid: int) -> list[int]:
    """Processes that this one started: torchrun's workers outlive it."""
    return [
        int(child)
        for path in Path(f"/proc/{pid}/task").glob("*/children")
        for child in path.read_text().split()
    ]


def committed(out):
    return {path.name: path.stat().st_mtime_ns for path in out.glob(".x.work/lists*.npz")}


@pytest.mark.parametrize("launcher", [(), pytest.param(TORCHRUN, marks=pytest.mark.slow)])
def test_killed_anywhere_the_same_command_goes_on(mined, launcher):
    folder, flags, expected = mined
    out = folder / f"killed{len(launcher)}"
    line = [sys.executable, *launcher, *COMMAND, *flags, "--save_path", str(out)]
    kills = [killed([*line, "--commit-seconds", "0"], out, attempt) for attempt in range(2)]
    assert any(kills), "it was too fast to be killed"
    last = run(*line)
    assert last.returncode == 0 and "going on with the unfinished work" in last.stderr, last.stderr
    assert output(out) == expected


def test_work_of_other_options_is_discarded(mined):
    folder, flags, expected = mined
    out = folder / "other"
    (out / ".x.work").mkdir(parents=True)
    (out / ".x.work/key.json").write_text(
        json.dumps({"options": {"topk": 99}, "embeddings": "0", "processes": 1})
    )
    (out / ".x.work/lists0_0.npz").write_bytes(b"torn")
    done = mine(*flags, "--save_path", out)
    assert (
        done.returncode == 0
        and "discarding unfinished work" in done.stderr
        and "embeddings, options" in done.stderr
    )
    assert output(out) == expected


def test_damaged_work_is_refused(tmp_path):
    work = Work(tmp_path / "w", lambda: {"a": 1})
    work.save("lists", numbers=np.arange(1000))
    whole = (tmp_path / "w/lists.npz").read_bytes()
    for content in (whole[:-7], whole[:300], b"", whole[:500] + b"\x7f" + whole[501:]):
        (tmp_path / "w/lists.npz").write_bytes(content)
        with pytest.raises(UserError, match="damaged unfinished work") as error:
            work.load("lists")
        assert error.value.code == 4


def test_two_processes_give_the_same_bytes(mined):
    folder, flags, expected = mined
    done = torchrun(2, *COMMAND, *flags, "--save_path", str(folder / "two"))
    assert done.returncode == 0, done.stderr
    assert output(folder / "two") == expected


def test_little_memory_gives_the_same_bytes(mined):
    """With exactly what a refusal asks for, which differs between processors: some multiply in bfloat16, some do not."""
    folder, flags, expected = mined
    refused = mine(*flags, "--save_path", folder / "small", "--max-memory", "1M")
    assert refused.returncode == 5, refused.stderr
    least = re.search(r"needs at least (\d+M) of memory", refused.stderr)
    done = mine(*flags, "--save_path", folder / "small", "--max-memory", least[1])
    assert (
        done.returncode == 0 and "mapped from disk" in done.stderr and "strips of" in done.stderr
    ), done.stderr
    assert output(folder / "small") == expected


def test_lists_survive_being_packed(tmp_path):
    lists = sweep.empty_lists(4, 6, 0.0)
    lists.count[:] = (0, 3, 6, 1)
    for name in ("column", "high", "low", "reason"):
        getattr(lists, name)[:] = np.arange(24).reshape(4, 6)
    work = Work(tmp_path / "w", lambda: {"a": 1})
    work.save("lists", **sweep.packed(lists))
    stored = work.load("lists")
    again = sweep.unpacked(stored, 6)
    for row in range(4):
        assert (
            again.column[row, : lists.count[row]].tolist()
            == lists.column[row, : lists.count[row]].tolist()
        )
    part = sweep.part_of(stored, 1, 3)
    assert part["count"].tolist() == [3, 6] and part["column"].tolist() == [6, 7, 8, *range(12, 18)]
    twice = sweep.merged(sweep.unpacked(stored, 6), [stored])  # a row needs more room than there is
    assert twice.count.tolist() == [0, 6, 12, 2] and twice.column[1, :6].tolist() == [
        6,
        7,
        8,
        6,
        7,
        8,
    ]
    own = sweep.unpacked(stored, 20)
    in_place = sweep.merged(sweep.some_of(own, 1, 3), [part])
    assert in_place.count.tolist() == [6, 12] and own.column[1, :6].tolist() == [6, 7, 8, 6, 7, 8]
