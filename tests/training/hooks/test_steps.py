"""Runs that are stopped between two steps, and go on there as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import time

import pytest
import torch

from tests.helpers import run, torchrun
from tests.training.test_trainer import COMMA, TINY, train

PROGRAM = """
import functools, os, signal, sys, time, threading
def ask(*_):
    os.kill(os.getpid(), getattr(signal, {name!r}))
def asks(function, when=lambda *_: True):
    @functools.wraps(function)
    def call(*args, **kwargs):
        if when(*args):
            ask()
        return function(*args, **kwargs)
    return call
{patch}
from hardpairs.cli.train import main
from hardpairs.core.errors import run_command
run_command(lambda: main(sys.argv[1:]))
"""
"""A training run in which a function is replaced by one that sends this process a signal first."""
BEFORE_STEP = """
from hardpairs.training.hooks import steps
steps._seed = asks(steps._seed, lambda args, number: number == {step} and args.rank == args.world_size - 1)
"""
WAITING = """
from hardpairs.training.dataset import PlannedDataset
load = PlannedDataset._load
def slow(self, plan):
    if plan.step == 3:
        time.sleep(60)
    return load(self, plan)
PlannedDataset._load = slow
from hardpairs.training.hooks import steps
seed = steps._seed
def soon(args, number):
    if number == 2:
        threading.Timer(1, ask).start()
    return seed(args, number)
steps._seed = soon
"""
MEASURING = """
from hardpairs.data.unreadable import UnreadableImages
UnreadableImages.add = asks(UnreadableImages.add)
"""
SAVING = """
from hardpairs.training import saving
saving.save_checkpoint = asks(saving.save_checkpoint)
"""
BUILDING = """
from hardpairs.training.hooks import build
def slow(*_):
    ask()
    time.sleep(60)
build.prepare_towers = slow
"""
FLAGS = (*COMMA, "--batch-size", "8", "--epochs", "2", "--batching", "random", "--ema", ".9")
FLAGS = (*FLAGS, "--memory-batches", "2")
STEPS = 10
"""Of a run with them on forty rows."""


def stopped(logs, name, patch, *flags, signal="SIGTERM", processes=0, env=None):
    """A run with a replaced function, to its end."""
    program = PROGRAM.format(patch=patch, name=signal)
    arguments = (*TINY, "--logs", str(logs), "--name", name, *flags)
    if not processes:
        return run("python", "-c", program, *arguments, env=env)
    path = logs / f"{name}.py"
    path.write_text(program)
    return torchrun(processes, "--", str(path), *arguments, env=env)


def last(logs, name, epoch=2):
    return torch.load(logs / name / f"checkpoints/epoch_{epoch}.pt", weights_only=True)


def assert_same(one, other):
    """Everything of two checkpoints is equal, bit for bit, except for their runs' names."""
    for part in one.keys() - {"name"}:
        assert is_same(one[part], other[part]), part


def is_same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    return one == other


def state(logs, name):
    return torch.load(logs / name / "checkpoints/epoch_latest.pt", weights_only=True)


@pytest.fixture
def flags(table):
    return ("--train-data", str(table), *FLAGS)


def test_stopped_and_resumed_again_and_again_it_ends_the_same(flags, tmp_path):
    """In the middle of an epoch, at its start, with more workers: augmentation is random here."""
    assert train(tmp_path, "whole", *flags).returncode == 0
    resume: tuple[str, ...] = ()
    for step, epoch, amid in ((1, 0, 2), (4, 1, 0), (7, 1, 3)):
        workers = ("--workers", str(step % 3))
        patch = BEFORE_STEP.format(step=step)
        done = stopped(tmp_path, "run", patch, *flags, *workers, *resume)
        assert done.returncode == 75, done.stderr
        assert "stopped by a signal" in done.stderr and "Traceback" not in done.stderr
        resume = ("--resume", "latest")
        if amid:
            saved = state(tmp_path, "run")
            assert (saved["epoch"], saved["step"]) == (epoch, amid)
    done = train(tmp_path, "run", *flags, *resume)
    assert done.returncode == 0, done.stderr
    assert_same(last(tmp_path, "whole"), last(tmp_path, "run"))
    assert not (tmp_path / "run/checkpoints/epoch_latest.pt").exists()


def test_what_the_run_made_for_an_epoch_is_used_by_the_rest_of_it(table, tmp_path):
    """Embeddings and held rows are the model's at the epoch's start, not at the resumed step."""
    flags = ("--train-data", str(table), *COMMA, "--epochs", "2", "--batch-size", "8")
    flags += ("--batching", "topical", "--topical-clusters", "5", "--p-topical", "1")
    flags += ("--remine-every", "1", "--memory-every", "1")
    assert train(tmp_path, "whole", *flags).returncode == 0
    done = stopped(tmp_path, "run", BEFORE_STEP.format(step=7), *flags)
    assert done.returncode == 75 and state(tmp_path, "run")["step"] == 3, done.stderr
    done = train(tmp_path, "run", *flags, "--resume", "latest")
    assert done.returncode == 0, done.stderr
    assert_same(last(tmp_path, "whole"), last(tmp_path, "run"))


@pytest.mark.slow
def test_resumed_at_random_steps_it_ends_the_same(flags, tmp_path):
    """Runs of a hundred steps, each stopped at five of them, and resumed with other workers."""
    count = int(os.environ.get("HARDPAIRS_RESUMED_STEPS", "100"))
    flags, rng = (*flags, "--epochs", "20", "--save-frequency", "3"), random.Random(0)
    assert train(tmp_path, "whole", *flags).returncode == 0
    for number in range(count // 5):
        name, resume = f"run{number}", ()
        for step in sorted(rng.sample(range(10 * STEPS), 5)):
            workers = ("--workers", str(rng.randrange(3)))
            done = stopped(tmp_path, name, BEFORE_STEP.format(step=step), *flags, *workers, *resume)
            assert done.returncode == 75, done.stderr
            resume = ("--resume", "latest")
        done = train(tmp_path, name, *flags, *resume)
        assert done.returncode == 0, done.stderr
        assert_same(last(tmp_path, "whole", 20), last(tmp_path, name, 20))


@pytest.mark.parametrize(
    ("phase", "more"),
    [
        ("waiting", ("--workers", "1")),
        ("measuring", ("--save-frequency", "2", "--val-data")),
        ("saving", ("--save-every-steps", "2")),
    ],
)
def test_a_signal_in_each_phase(flags, table, tmp_path, phase, more):
    patch = {"waiting": WAITING, "measuring": MEASURING, "saving": SAVING}[phase]
    more = (*more, str(table)) if more[-1].startswith("--") else more
    began = time.monotonic()
    done = stopped(tmp_path, "run", patch, *flags, *more, signal="SIGUSR1")
    assert done.returncode == 75, done.stderr
    assert time.monotonic() - began < 50
    saved = state(tmp_path, "run")
    position = (saved["epoch"], saved["step"])
    assert (
        position
        in {"waiting": [(0, 3)], "measuring": [(1, 0)], "saving": [(0, 2), (0, 3), (0, 4)]}[phase]
    )
    done = train(tmp_path, "run", *flags, *more, "--resume", "latest")
    assert done.returncode == 0, done.stderr
    assert last(tmp_path, "run")["epoch"] == 2


def test_a_signal_before_the_first_step_ends_at_once(table, tmp_path):
    flags = ("--train-data", str(table), *COMMA, "--batch-size", "8", "--batching", "random")
    began = time.monotonic()
    done = stopped(tmp_path, "run", BUILDING, *flags, "--model", "miniclip-test")
    assert done.returncode == 75, done.stderr
    assert "--resume latest" in done.stderr and time.monotonic() - began < 50


def test_one_rank_is_asked_and_all_end_and_other_numbers_of_ranks_go_on(table, tmp_path):
    """1 -> 2 -> 1 processes with one global batch end as one process does, but for rounding."""
    flags = ("--train-data", str(table), *COMMA, "--epochs", "2", "--batching", "random")
    flags += ("--freeze-bn-stats", "--eps", "1e-3")  # a gradient of rounding alone must not count
    one, two = ("--batch-size", "8"), ("--batch-size", "4")
    assert train(tmp_path, "whole", *flags, *one).returncode == 0
    done = stopped(tmp_path, "run", BEFORE_STEP.format(step=2), *flags, *one)
    assert done.returncode == 75, done.stderr
    status = tmp_path / "status.json"
    done = stopped(
        *(tmp_path, "run", BEFORE_STEP.format(step=6), *flags, *two, "--resume", "latest"),
        processes=2,
        env={"HARDPAIRS_STATUS_FILE": str(status)},
    )
    assert json.loads(status.read_text())["code"] == 75, done.stderr
    assert (state(tmp_path, "run")["epoch"], state(tmp_path, "run")["step"]) == (1, 2)
    done = train(tmp_path, "run", *flags, *one, "--resume", "latest")
    assert done.returncode == 0, done.stderr
    whole, again = last(tmp_path, "whole")["state_dict"], last(tmp_path, "run")["state_dict"]
    for name, value in whole.items():
        torch.testing.assert_close(again[name], value, rtol=1e-5, atol=1e-6)


def test_another_run_is_not_resumed_unless_it_is_meant(flags, tmp_path):
    done = stopped(tmp_path, "run", BEFORE_STEP.format(step=2), *flags)
    assert done.returncode == 75, done.stderr
    other = (*flags, "--resume", "latest", "--batch-size", "4", "--seed", "3")
    done = train(tmp_path, "run", *other)
    assert done.returncode == 2
    assert "over all processes 8, and this one has 4" in done.stderr, done.stderr
    done = train(tmp_path, "run", *other, "--resume-changes", "batch_size,seed")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "run/metrics.csv") as file:
        assert file.read().splitlines()[4].startswith("0,6,")  # after as many rows as before


def test_only_the_best_epoch_is_there(table, tmp_path):
    """Of a run that saves seldom and was killed: it goes on from its best epoch."""
    flags = ("--train-data", str(table), "--val-data", str(table), *COMMA, "--batch-size", "20")
    flags += ("--batching", "random", "--save-best", "mean_R@1", "--epochs", "2")
    assert train(tmp_path, "run", *flags).returncode == 0
    for path in (tmp_path / "run/checkpoints").glob("epoch_*.pt"):
        path.unlink()
    done = train(tmp_path, "run", *flags, "--resume", "latest")
    assert done.returncode == 0 and "best.pt" in done.stderr, done.stderr
