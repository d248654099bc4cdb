"""Disturb a training run again and again; it must end with the bits of an undisturbed one.

    python -m tests.chaos.chaos --processes 2 --epochs 25 --events 200 --out benchmarks/results/chaos.json

The file keeps what was found with other numbers of processes. The run is started anew whenever an event has ended it. An event comes while the run starts or some
steps later, in an order that follows from the seed; in which step, the machine decides.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import csv
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import tests.preloaded  # noqa: F401  what the forks need
from benchmarks.machine import describe_machine
from tests.chaos import disk
from tests.chaos.job import Job, adopt_orphans, children, forget_handlers_in_forks, left
from tests.helpers import picture

ROWS, BATCH = 160, 8
STEPS_PER_EPOCH = ROWS // BATCH
PEER_TIMEOUT = 4
LIMIT = PEER_TIMEOUT + 30
"""Seconds within which a run ends of which a process is lost."""
FORKS_LATER = 10
"""More of them for forks: PyTorch waits 30 s before it kills one that does not end."""
STOP_LIMIT = 60
"""Seconds within which a run ends that is asked to."""
STUCK = 600
"""Seconds without a step after which a run is taken for stuck."""
DISK_MEGABYTES = 48
AT_START = 0.2
"""Share of events that come while a run starts."""
ENOUGH = 6
"""Steps in which a run needs its disk and its loaders: it saves a state after every third."""
EVENTS = {
    "kill a rank": 3,
    "kill torchrun": 2,
    "kill a loader": 1,
    "stop a rank": 1,
    "pause a rank": 2,
    "SIGTERM": 3,
    "SIGUSR1": 3,
    "SIGTERM to a rank": 2,
    "two signals": 1,
    "full disk": 3,
    "slow disk": 2,
    "clock": 3,
}
"""Kinds of events, with how often they come."""
TIMES = ("batch_time", "data_time", "samples_per_second")
"""Columns of metrics.csv that tell of the machine."""


def make_data(folder: Path) -> Path:
    """Write a table of small pictures."""
    (folder / "images").mkdir(parents=True)
    with open(folder / "pairs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title"])
        for i in range(ROWS):
            (folder / f"images/{i}.jpg").write_bytes(picture(i))
            writer.writerow([folder / f"images/{i}.jpg", f"picture number {i}"])
    return folder / "pairs.csv"


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class Chaos:
    """A run that is disturbed.

    Args:
        folder: For data and messages.
        logs: Folder of runs, on a disk of its own where that can be had.
        processes: Number of ranks.
        epochs: Epochs of the run.
        seed: Of the events.
    """

    def __init__(self, folder: Path, logs: Path, processes: int, epochs: int, seed: int) -> None:
        self.folder, self.logs, self.processes, self.epochs = folder, logs, processes, epochs
        self.rng = random.Random(seed)
        self.script_share = 0.0
        self.counts: collections.Counter[str] = collections.Counter()
        self.codes: collections.Counter[str] = collections.Counter()
        self.faults: list[str] = []
        self.slowest_end = 0.0
        self.until = math.inf
        self.late: tuple[int, ...] = ()
        flags = (
            "--csv-separator , --model hardpairs-test --device cpu --precision fp32 --workers 1 "
        )
        flags += f"--batching random --memory-batches 2 --ema .9 --epochs {epochs} --warmup 1 "
        flags += f"--log-every-n-steps 1 --save-every-steps 3 --peer-timeout {PEER_TIMEOUT} "
        flags += f"--keep-checkpoints 2 --batch-size {BATCH // processes} --logs {logs}"
        self.flags = ("--train-data", str(make_data(folder / "data")), *flags.split())

    def start(self, name: str = "run") -> Job:
        script = name == "run" and self.rng.random() < self.script_share
        flags = (*self.flags, "--name", name)
        self.counts["starts"] += 1
        self.late = ()
        return Job(flags, self.processes, self.folder, script=script)

    def chosen(self, events: int, kinds: str) -> list[str]:
        """Return the events, in order."""
        if kinds:
            return kinds.split(",")
        return self.rng.choices([*EVENTS], [*EVENTS.values()], k=events)

    def undisturbed(self) -> None:
        """Train the run that the other one is compared with."""
        job = self.start("whole")
        code = job.wait(3600)
        assert code == 0, job.told.read_text()
        self.check_left(job, "an undisturbed run")

    def disturbed(self, events: list[str]) -> None:
        """Train a run with events until it ends by itself."""
        job = self.start()
        for number, event in enumerate(events):
            if time.monotonic() > self.until:
                break
            if not self.goes_on_to(job, self.moment(len(events) - number)):
                code = job.wait(0)
                if code == 0:
                    return
                if code in self.late:
                    self.codes[f"some steps after an event: {code}"] += 1
                else:
                    self.fault(job, f"ended with {code} before {event}")
                job = self.start()
            job = self.strike(job, event)
        if job.wait(3600) != 0:
            self.fault(job, "did not end by itself")

    def moment(self, events: int) -> tuple[float, int]:
        """Return when the next of some events comes: seconds, or else steps, from now.

        They are spread over the steps that are left.
        """
        if self.rng.random() < AT_START:
            return self.rng.random() * 3, 0
        steps = self.epochs * STEPS_PER_EPOCH - self.lines()
        return 0.0, self.rng.randint(1, max(1, 2 * steps // events - 1))

    def goes_on_to(self, job: Job, moment: tuple[float, int]) -> bool:
        """Wait until then, and return whether the job still runs."""
        seconds, steps = moment
        first, began = self.lines(), time.monotonic()
        limit = seconds if not steps else STUCK
        while job.poll() is None and time.monotonic() - began < limit:
            if steps and self.lines() - first >= steps:
                break
            time.sleep(0.01)
        if steps and time.monotonic() - began >= limit:
            self.fault(job, f"no step in {limit} s")
            job.end()
        return job.poll() is None

    def lines(self) -> int:
        """Return the steps that the run has logged."""
        try:
            return (self.logs / "run/metrics.csv").read_bytes().count(b"\n")
        except OSError:
            return 0

    def strike(self, job: Job, event: str) -> Job:
        """Let an event happen, and return the job that runs afterwards."""
        began = time.monotonic()
        codes = self.happen(job, event)
        if codes is None:
            return job
        self.counts[event] += 1
        if not codes:
            return job
        limit = STOP_LIMIT
        if 7 in codes:
            limit = LIMIT if job.script else LIMIT + FORKS_LATER
        code = job.wait(limit)
        seconds = time.monotonic() - began
        self.codes[f"{event}: {code}"] += 1
        print(f"step {self.lines() - 1}: {event}: {code} in {seconds:.1f} s", file=sys.stderr)
        if code is None:
            self.fault(job, f"{event}: still there after {limit} s: {self.state(job)}")
            job.end()
        elif code not in (*codes, *self.late, 0):  # it may have been at its end
            self.fault(job, f"{event}: code {code}")
        else:
            self.slowest_end = max(self.slowest_end, seconds)
        disk.free(self.logs)
        self.check_left(job, event)
        # Forks get Ctrl-C from PyTorch when torchrun is killed, in any line of a library; what the
        # script starts does not.
        is_interrupted = event == "kill torchrun" and not job.script
        if not is_interrupted and b"Traceback" in job.told.read_bytes():
            self.fault(job, f"{event}: a traceback")
        return job if code == 0 else self.start()

    def happen(self, job: Job, event: str) -> tuple[int, ...] | None:
        """Do it.

        Returns:
            The codes that the job may end with; none if it goes on; ``None``: it was not possible.
        """
        signals = {"SIGTERM": signal.SIGTERM, "SIGUSR1": signal.SIGUSR1}
        early = (-signal.SIGTERM, -signal.SIGUSR1)  # before torchrun listens, without the launcher
        ranks, agent = job.ranks(), job.agent()
        if event in signals:
            send(job.pid, signals[event])
            return (75, *early)
        if event == "two signals":
            send(job.pid, signal.SIGUSR1)
            time.sleep(self.rng.random() * 3)
            if job.poll() is None:
                send(job.pid, signal.SIGTERM)
            return (75, *early)
        if event == "kill torchrun":
            if agent is None:
                return None
            send(agent, signal.SIGKILL)
            # PyTorch has its forks get SIGINT when their parent ends; ours get SIGTERM.
            return (-signal.SIGKILL, 137, 130, 75)
        if event == "full disk":
            return self.full_disk(job)
        if event == "slow disk":
            (self.folder / "slow").write_text(str(self.rng.choice((0, 0.1, 0.5))))
            return ()
        if event == "clock":
            self.step_clock()
            return ()
        if len(ranks) < self.processes:
            return None
        rank = self.rng.choice(ranks)
        if event == "SIGTERM to a rank":
            send(rank, signal.SIGTERM)
            return (75, *early, 7)
        if event == "pause a rank":
            send(rank, signal.SIGSTOP)
            time.sleep(self.rng.random() * PEER_TIMEOUT / 2)
            send(rank, signal.SIGCONT)
            return ()
        if event == "kill a loader":
            loaders = children(rank)
            if not loaders:
                return None
            send(self.rng.choice(loaders), signal.SIGKILL)
            return self.unless_it_goes_on(job, (7,))
        send(rank, signal.SIGSTOP if event == "stop a rank" else signal.SIGKILL)
        return (7,)

    def full_disk(self, job: Job) -> tuple[int, ...] | None:
        """Fill the disk for the time that it takes to save a state."""
        if not os.path.ismount(self.logs):
            return None
        disk.fill(self.logs)
        codes = self.unless_it_goes_on(job, (5,))
        disk.free(self.logs)
        return codes

    def unless_it_goes_on(self, job: Job, codes: tuple[int, ...]) -> tuple[int, ...]:
        """Return the codes if the job ends within some steps: it may need nothing of what is gone."""
        if self.goes_on_to(job, (0.0, ENOUGH)):
            self.late = codes
            return ()
        return codes

    def step_clock(self) -> None:
        """Set the ranks' clock, and the times of the run's files, by up to a day."""
        (self.folder / "clock").write_text(str(self.rng.uniform(-86400, 86400)))
        for path in (self.logs / "run").rglob("*"):
            seconds = time.time() + self.rng.uniform(-86400, 86400)
            try:
                os.utime(path, (seconds, seconds))
            except FileNotFoundError:
                continue

    def check_left(self, job: Job, event: str) -> None:
        """Look for processes that the job has left."""
        pids = left(LIMIT)
        if pids:
            self.fault(job, f"{event}: it left {len(pids)} processes: {self.state(job)}")
            job.end()

    def state(self, job: Job) -> str:
        """Describe the processes that are there."""
        found = []
        for pid in [job.pid, *job.ranks(), *children("self")]:
            for name in ("stat", "wchan"):
                try:
                    found.append(Path(f"/proc/{pid}/{name}").read_text()[:60])
                except OSError:
                    continue
        return " | ".join(found)

    def fault(self, job: Job, text: str) -> None:
        """Note what is wrong, with what the run has told last."""
        print(f"fault: {text}", file=sys.stderr)
        self.faults.append(f"{text}\n{job.told.read_text(errors='replace')[-3000:]}")

    def compare(self) -> None:
        """Compare what the two runs have left, if the disturbed one has come to its end."""
        if not (self.logs / f"run/checkpoints/epoch_{self.epochs}.pt").exists():
            self.faults.append("the last checkpoint is not there")
            return
        for problem in differences(self.logs / "whole", self.logs / "run", self.epochs):
            self.faults.append(problem)


def differences(whole: Path, run: Path, epochs: int) -> list[str]:
    """Return what differs in the last checkpoints, the logged steps, and the names of files."""
    one, other = (
        torch.load(p / f"checkpoints/epoch_{epochs}.pt", weights_only=True) for p in (whole, run)
    )
    wrong = [
        f"{part} of the last checkpoint differs"
        for part in one
        if part != "name" and not same(one[part], other[part])
    ]
    ours, theirs = steps(whole), steps(run)
    wrong += [
        f"step {step} of metrics.csv differs" for step in ours if ours[step] != theirs.get(step)
    ][:3]
    wrong += [f"metrics.csv has {len(theirs)} steps"] if len(ours) != len(theirs) else []
    names = [{str(path.relative_to(p)) for path in p.rglob("*")} for p in (whole, run)]
    return wrong + [f"{name} in one of them" for name in sorted(names[0] ^ names[1])]


def same(one: Any, other: Any) -> bool:
    """Return whether nested values are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def steps(run: Path) -> dict[str, dict[str, str]]:
    """Return the last line of metrics.csv for each step, without what the machine decides."""
    with open(run / "metrics.csv", newline="") as file:
        rows = {row["step"]: row for row in csv.DictReader(file)}
    return {step: {k: v for k, v in row.items() if k not in TIMES} for step, row in rows.items()}


def chaos(
    processes: int,
    epochs: int,
    events: int,
    seed: int,
    script_share: float = 0.0,
    kinds: str = "",
    minutes: float = math.inf,
) -> dict[str, Any]:
    """Return what a disturbed run went through, and what was wrong.

    Args:
        processes: Number of ranks.
        epochs: Epochs of twenty steps.
        events: Number of events.
        seed: Of the events.
        script_share: Share of starts by the script.
        kinds: The kinds of events, with commas between them; empty: all, at random.
        minutes: After these there are no more events, and the run goes on to its end.
    """
    torch.set_num_threads(1)
    adopt_orphans()
    forget_handlers_in_forks()
    began = time.monotonic()
    # No TemporaryDirectory: forks would remove it at their exit.
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        logs = folder / "logs"
        logs.mkdir()
        can_fill = disk.mount(logs, DISK_MEGABYTES)
        run = Chaos(folder, logs, processes, epochs, seed)
        run.script_share, run.until = script_share, began + 60 * minutes
        try:
            run.undisturbed()
            run.disturbed(run.chosen(events, kinds))
            run.compare()
        finally:
            disk.unmount(logs)
    finally:
        shutil.rmtree(folder)
    return {
        "processes": processes,
        "steps": epochs * STEPS_PER_EPOCH,
        "events": sum(run.counts[event] for event in EVENTS),
        "starts": run.counts["starts"] - 1,
        "by_event": {event: run.counts[event] for event in EVENTS},
        "codes": dict(sorted(run.codes.items())),
        "slowest_end_s": round(run.slowest_end, 1),
        "disk_was_filled": can_fill,
        "seconds": round(time.monotonic() - began),
        "faults": run.faults,
    }


def main() -> None:
    """Disturb a run, print what happened, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--script-share", type=float, default=0.0)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--out")
    args = vars(parser.parse_args())
    out = args.pop("out")
    found = chaos(**args)
    text = json.dumps(found, indent=1)
    print(text)
    if out:
        path = Path(out)
        kept = json.loads(path.read_text())["runs"] if path.exists() else []
        others = [run for run in kept if run["processes"] != found["processes"]]
        report = {"machine": describe_machine(), "runs": [*others, found]}
        path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
