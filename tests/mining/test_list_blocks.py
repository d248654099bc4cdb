"""Restart and processes: whatever happens on the way, the same bytes."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hardpairs.core.progress import Progress
from hardpairs.mining.api import Execution, search
from hardpairs.mining.options import MiningOptions
from tests.helpers import ROOT, run, torchrun
from tests.mining.command import mine
from tests.mining.searches import themed
from tests.processes import Popen

COMMAND = ("-m", "mining.hard_pair_mining")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    """Return embeddings of 9,000 pairs, flags to mine them, and the uninterrupted output."""
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
    """Kill a command shortly after it has committed something; tell if it was running then."""
    process = Popen(line, cwd=ROOT)
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
    line = ["python", *launcher, *COMMAND, *flags, "--save_path", str(out)]
    kills = [killed([*line, "--commit-seconds", "0"], out, attempt) for attempt in range(2)]
    assert any(kills), "it was too fast to be killed"
    last = run(*line)
    assert last.returncode == 0 and "going on with the unfinished hard pairs" in last.stderr, (
        last.stderr
    )
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
        and "discarding unfinished hard pairs" in done.stderr
        and "embeddings, options" in done.stderr
    )
    assert output(out) == expected


SLOW_TO_DISCARD = """
import sys, time
from hardpairs.cli import mine
from hardpairs.core.errors import run_command
from hardpairs.mining import dataset

hashed = dataset.content_hash

def slow(embeddings):  # as that of some GB of embeddings
    time.sleep(1)
    return hashed(embeddings)

dataset.content_hash = slow
run_command(mine.main)
"""


@pytest.mark.parametrize("processes", [1, 3])
def test_two_processes_wait_until_work_of_others_is_discarded(processes, tmp_path):
    """The second process once wrote into the folder that the first one then removed."""
    np.save(tmp_path / "a.npy", themed(1500, 32))
    np.save(tmp_path / "b.npy", themed(1500, 32, 1))
    flags = ("--dataset", "x", "--topk", "5", "--image-embeddings", str(tmp_path / "a.npy"))
    flags += ("--text-embeddings", str(tmp_path / "b.npy"), "--save_path")
    assert mine(*flags, tmp_path / "alone").returncode == 0
    stale = Progress(tmp_path / "two/.x.work", {"processes": processes})
    stale.save("lists0_1", column=np.zeros(750, np.int32))
    stale.save("plan", order=np.arange(1500))
    (tmp_path / "slow.py").write_text(SLOW_TO_DISCARD)
    done = torchrun(2, str(tmp_path / "slow.py"), *flags, str(tmp_path / "two"))
    assert done.returncode == 0 and "discarding unfinished hard pairs" in done.stderr, done.stderr
    assert output(tmp_path / "two") == output(tmp_path / "alone")


class KilledBeforeItForgets(Progress):
    def forget(self, name):
        """Leave a piece there."""


def test_lists_of_another_plan_are_not_read(tmp_path):
    """Such as those that a kill left in a folder whose plan was removed already."""
    image, text, options = themed(2500, 16), themed(2500, 16, 1), MiningOptions(top_k=5)
    expected = search(image, text, options)
    progress = KilledBeforeItForgets(tmp_path / "p", {}, every=0)
    for _ in range(2):
        result = search(image, text, options, execution=Execution(progress=progress))
        assert (result.indices == expected.indices).all()
        assert result.counts == expected.counts and progress.has("lists0_0")
        plan = progress.load("plan")
        progress.save("plan", **{**plan, "order": plan["order"][::-1].copy()})


def test_two_processes_give_the_same_bytes(mined):
    folder, flags, expected = mined
    done = torchrun(2, *COMMAND, *flags, "--save_path", str(folder / "two"))
    assert done.returncode == 0, done.stderr
    assert output(folder / "two") == expected


def test_two_processes_give_the_same_bytes_with_many_pools(mined):
    folder, flags, _ = mined
    more = ("--approx", "900", "--approx-targets", "4000")
    done = mine(*flags, *more, "--save_path", folder / "pools")
    assert done.returncode == 0 and "3 pools" in done.stderr, done.stderr
    done = torchrun(2, *COMMAND, *flags, *more, "--save_path", str(folder / "two pools"))
    assert done.returncode == 0, done.stderr
    assert output(folder / "two pools") == output(folder / "pools")


def test_two_processes_give_the_same_bytes_across_modalities(tmp_path):
    """Cross-modal pairs, and those of a second model."""
    for name, seed in (("one", 0), ("two", 2)):
        image, text = themed(2500, 32, seed), themed(2500, 32, seed + 1)
        for kind, rows in (("img_emb", image), ("text_emb", image + text)):
            (tmp_path / name / kind).mkdir(parents=True)
            np.save(tmp_path / name / kind / f"{kind}_0.npy", rows)
    flags = ("--dataset", "x", "--topk", "5", "--mining-method", "cross-modal")
    flags += ("--relative-margin", "0.1", "--embeddings", str(tmp_path / "one"))
    for case, more in (("one", ()), ("two", ("--rescore", str(tmp_path / "two")))):
        done = mine(*flags, *more, "--save_path", tmp_path / f"alone {case}")
        assert done.returncode == 0, done.stderr
        both = ("--save_path", str(tmp_path / f"together {case}"))
        done = torchrun(2, *COMMAND, *flags, *more, *both)
        assert done.returncode == 0, done.stderr
        assert output(tmp_path / f"alone {case}") == output(tmp_path / f"together {case}")


def test_little_memory_gives_the_same_bytes(mined):
    """Allow what the refusal asks for, which depends on the processor's precision."""
    folder, flags, expected = mined
    refused = mine(*flags, "--save_path", folder / "small", "--max-memory", "1M")
    assert refused.returncode == 5, refused.stderr
    least = re.search(r"needs at least (\d+M) of memory", refused.stderr)
    done = mine(*flags, "--save_path", folder / "small", "--max-memory", least[1])
    assert (
        done.returncode == 0 and "mapped from disk" in done.stderr and "blocks of" in done.stderr
    ), done.stderr
    assert output(folder / "small") == expected


def on_machines(count, flags, folders) -> list[Popen]:
    """Start a process of a run on each of some machines, which have a folder each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    where |= {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "LOCAL_RANK": "0"}
    return [
        Popen(
            [sys.executable, *COMMAND, *flags, "--save_path", str(folder)],
            cwd=ROOT,
            env={**os.environ, **where, "RANK": str(rank)},
            text=True,
        )
        for rank, folder in enumerate(folders)
    ]


def test_machines_in_a_ring_need_no_common_folder(mined, tmp_path):
    """Also after a kill: each machine goes on with what is in its own folder."""
    _, flags, expected = mined
    folders = [tmp_path / "first", tmp_path / "second"]
    ring = (*flags, "--rows", "ring")
    begun = on_machines(2, (*ring, "--commit-seconds", "0"), folders)
    while not (committed(folders[1]) and committed(folders[0])):
        assert all(process.poll() is None for process in begun), "it was too fast to be killed"
        time.sleep(0.002)
    for process in begun:
        process.kill()
        process.communicate()
    ended = on_machines(2, ring, folders)
    told = [process.communicate(timeout=120)[1] for process in ended]
    assert [process.returncode for process in ended] == [0, 0], told
    assert all("going on with the unfinished hard pairs" in text for text in told), told
    assert output(folders[0]) == expected
    assert not list(folders[1].iterdir())


def test_machines_that_share_a_file_of_rows_need_a_common_folder(mined, tmp_path):
    _, flags, _ = mined
    folders = [tmp_path / "first", tmp_path / "second"]
    ended = on_machines(2, (*flags, "--rows", "shared"), folders)
    told = [process.communicate(timeout=120)[1] for process in ended]
    assert ended[1].returncode == 2 and "process 1 does not see the unit vectors" in told[1], told
    assert "--rows ring" in told[1] and ended[0].returncode == 7, told
