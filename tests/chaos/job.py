"""A training run under our launcher, and the processes below it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.helpers import ROOT
from tests.processes import fork_here

SUBREAPER = 36
STOPS = (signal.SIGTERM, signal.SIGUSR1)


def forget_handlers_in_forks() -> None:
    """Let no fork of torchrun handle a signal as torchrun does: in a new program no handler is left."""

    def after_in_child() -> None:
        for number in STOPS:
            if getattr(signal.getsignal(number), "__name__", "") == "_pass_on":
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, STOPS),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS),
        after_in_child=after_in_child,
    )


def adopt_orphans() -> None:
    """Become the parent of each process below this one whose own parent ends."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1)


def children(pid: int | str) -> list[int]:
    """Return the processes that a process started, oldest first."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except OSError:
            continue
    return sorted(pid for pid in found if not _is_tracker(pid))


def _is_tracker(pid: int) -> bool:
    """Of Python's helper that counts semaphores."""
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def left(seconds: float) -> list[int]:
    """Return the processes of ended ones that are still there after some seconds.

    For a process that adopts orphans and has no other children.
    """
    end = time.monotonic() + seconds
    while (pids := _orphans()) and time.monotonic() < end:
        time.sleep(0.02)
    return pids


def _orphans() -> list[int]:
    """Return what this process has adopted, less what has ended."""
    pids = []
    for pid in children("self"):
        try:
            if not os.waitpid(pid, os.WNOHANG)[0]:
                pids.append(pid)
        except ChildProcessError:
            continue
    return pids


class Job:
    """A start of a run, to its end.

    Args:
        flags: The trainer's flags.
        processes: Number of ranks.
        folder: For what it tells, and for the files of ``tests.chaos.rank``.
        script: Whether ``scripts/train_node.sh`` starts it, as users do. Otherwise torchrun and
            the ranks are forks of this process, which start in a tenth of the time.
    """

    def __init__(
        self, flags: Sequence[str], processes: int, folder: Path, *, script: bool = False
    ) -> None:
        self.processes, self.script = processes, script
        self.told, self._status = folder / "told", folder / "status.json"
        self.told.unlink(missing_ok=True)
        self._status.unlink(missing_ok=True)
        env = {"CHAOS": str(folder), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        env |= {"OMP_NUM_THREADS": "1", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "5"}
        self.code: int | None = None
        self._began = time.monotonic()
        if script:
            env["PROCESSES"] = str(processes)
            with open(self.told, "wb") as told:
                self._popen = subprocess.Popen(
                    ["bash", "scripts/train_node.sh", *flags],
                    cwd=ROOT,
                    env={**os.environ, **env},
                    stdout=told,
                    stderr=told,
                )
            self.pid = self._popen.pid
            return
        env["HARDPAIRS_STATUS_FILE"] = str(self._status)
        line = ("python", "-m", "hardpairs.training.torchrun", "--standalone")
        line += ("--nproc_per_node", str(processes), "-m", "--", "tests.chaos.rank", "train")
        self.pid = fork_here((*line, *flags, "--resume", "latest"), env, ROOT, self.told)

    def agent(self) -> int | None:
        """Return torchrun's process, once there is one."""
        if not self.script:
            return self.pid
        return next(iter(children(self.pid)), None)

    def ranks(self) -> list[int]:
        """Return the processes that train; fewer at the start."""
        agent = self.agent()
        return [] if agent is None else children(agent)[: self.processes]

    def poll(self) -> int | None:
        """Return the exit code of a job that has ended."""
        if self.code is not None:
            return self.code
        if self.script:
            self.code = self._popen.poll()
        elif (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.code = os.waitstatus_to_exitcode(ended[1])
            if self.code and self._status.exists():
                self.code = int(json.loads(self._status.read_text())["code"])
        return self.code

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, ``None`` if the job has not ended after some seconds."""
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        return self.code

    def end(self) -> None:
        """Kill all of it."""
        for pid in [*self.ranks(), self.agent(), *children("self")]:
            if pid is not None:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        self.wait(10)
        left(10)
