"""Run commands one after another, so that an interrupted series goes on where it stopped.

A step is finished when its result exists, the same command made it, and no step before it ran again
since. After a finished step a mark in ``OUT/.done`` says so: the command, the run's number, and the
number of the step before it. What a killed series has left running is ended before the first step.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import Exit, UserError
from hardpairs.core.interrupts import goes_on
from hardpairs.core.lock import locked
from hardpairs.core.processes import PARENT, end_marked

HARDPAIRS = (sys.executable, "-m", "hardpairs.cli")
"""The start of a command of ours, as ``hardpairs`` is not on the PATH of every environment."""
_SHOWN = {"-m hardpairs.cli": "hardpairs", "-m img2dataset.main": "img2dataset"}
_OWN_MESSAGES = re.compile(r"^error|^  (where|why|fix):|rejected|hard pairs:")
_TRAINING_STEP = re.compile(r"Train Epoch.*\((\d+%)\).*, (\d+)[\d.]*/s,.* Loss: ([\d.]+) ")
_SERIES = "HARDPAIRS_STEPS"
"""Variable of a step's processes with the folder of the series."""
_LAST_LINES = 12
_GRACE_SECONDS = 20


@dataclass(frozen=True)
class Step:
    """A command and the file or folder that it makes.

    Attributes:
        name: Name of the step, of its logs and of its mark.
        command: The command's words.
        result: What exists after it.
        fresh: Folder to remove before the command, which would go on with what is in it.
        server: Command of a server that must run meanwhile, and the file that it writes when ready.
        hint: What to do where it fails, besides what its own message says.
    """

    name: str
    command: tuple[str, ...]
    result: Path
    fresh: Path | None = None
    server: tuple[tuple[str, ...], Path] | None = None
    hint: str = ""

    @property
    def line(self) -> str:
        """The command as one types it."""
        line = shlex.join(self.command).replace(shlex.quote(sys.executable), "python")
        for start, shown in _SHOWN.items():
            line = line.replace(f"python {start}", shown)
        return line


def run_steps(
    steps: Sequence[Step],
    out: Path,
    *,
    force: bool = False,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run the steps that are not finished, each with its output in ``OUT/logs``.

    A server runs from the first step that needs it to the last in succession that names the same.
    ``OUT/steps.tsv`` lists name, seconds and command of each step.

    Args:
        steps: The steps in order.
        out: Folder for logs and marks.
        force: Run finished steps again.
        environment: Variables for the commands, where this process does not have them.

    Raises:
        UserError: With the exit code of the step that failed; exit 2 where another process runs
            the steps of this folder.
    """
    marks, logs = out / ".done", out / "logs"
    if force:
        shutil.rmtree(marks, ignore_errors=True)
    marks.mkdir(parents=True, exist_ok=True)
    logs.mkdir(parents=True, exist_ok=True)
    (out / "steps.tsv").touch()
    series = str(out.resolve())
    variables = {**(environment or {}), **os.environ}
    variables |= {PARENT: str(os.getpid()), _SERIES: series}
    before = ""
    with locked(out / ".lock", f"the steps in {out}"), contextlib.ExitStack() as servers:
        end_marked(_SERIES, series)
        serving = None
        for step in steps:
            if serving and step.server != serving:
                servers.close()
                serving = None
            mark = marks / step.name
            run = _finished(step, mark, before)
            if run:
                _say(f"[{step.name}] done before")
            else:
                mark.unlink(missing_ok=True)
                if step.server and not serving:
                    log = logs / "server.log"
                    servers.enter_context(_server(*step.server, log=log, variables=variables))
                    serving = step.server
                seconds = _run(step, logs, variables)
                _note_seconds(out / "steps.tsv", step, seconds)
                run = uuid.uuid4().hex
                write_json(mark, {"command": step.line, "run": run, "after": before})
            goes_on()
            before = run


def _finished(step: Step, mark: Path, before: str) -> str:
    """Return the number of the run that finished a step; empty when it is to run."""
    noted: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError, ValueError):
        noted = json.loads(mark.read_text(encoding="utf-8"))
    same = noted.get("command") == step.line and noted.get("after") == before
    return str(noted["run"]) if same and step.result.exists() else ""


def _run(step: Step, logs: Path, variables: Mapping[str, str]) -> float:
    """Run a step's command and return its seconds."""
    if step.fresh:
        shutil.rmtree(step.fresh, ignore_errors=True)
    _say(f"\n[{step.name}] {step.line}")
    started, log = time.monotonic(), logs / f"{step.name}.log"
    with open(logs / f"{step.name}.out", "wb") as output, open(log, "wb") as messages:
        process = subprocess.Popen(
            step.command, stdout=output, stderr=subprocess.PIPE, env=variables
        )
        assert process.stderr is not None
        try:
            for line in process.stderr:
                messages.write(line)
                _show(line.decode("utf-8", "replace"))
            code = process.wait()
        except KeyboardInterrupt as stop:  # Ctrl-C reaches the command, too; SIGTERM does not
            if stop.args:
                process.send_signal(signal.SIGINT)
                _wait_or_terminate(process)
            process.wait()
            raise
    if code:
        words = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        _say(f"\nThe step failed; its whole log is {log}, which ends with:", *words)
        known = code in set(Exit)
        raise UserError(
            Exit(code) if known else Exit.UNEXPECTED, f"the step {step.name} failed", fix=step.hint
        )
    return time.monotonic() - started


def _wait_or_terminate(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to a process that ignores SIGINT, as the jobs of a shell's background do."""
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()


def _show(line: str) -> None:
    """Print what one wants to see of a long log: our messages, and training steps in short."""
    if step := _TRAINING_STEP.search(line):
        share, speed, loss = step.groups()
        _say(f"      {share} of the steps, {speed} pairs per second, loss {loss}")
    elif _OWN_MESSAGES.search(line):
        _say(f"  {line.rstrip()}")


def _note_seconds(table: Path, step: Step, seconds: float) -> None:
    lines = table.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(f"{step.name}\t")]
    write_text(table, "\n".join([*kept, f"{step.name}\t{seconds:.0f}\t{step.line}\n"]))


@contextlib.contextmanager
def _server(
    command: tuple[str, ...], ready: Path, *, log: Path, variables: Mapping[str, str]
) -> Iterator[None]:
    """Run a server, wait up to 20 s until it is ready, and stop it in the end."""
    ready.unlink(missing_ok=True)
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=variables)
    try:
        end = time.monotonic() + 20
        while not ready.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the process as Ctrl-C does, so that commands and servers end with it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("SIGTERM")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def enough_space(folder: Path, megabytes: int) -> None:
    """Refuse a folder on a disk with too little free space.

    Raises:
        UserError: Exit 5 for less than ``megabytes`` MB.
    """
    os.makedirs(folder, exist_ok=True)
    if shutil.disk_usage(folder).free < megabytes * 10**6:
        what = f"less than {megabytes / 1000:g} GB are free"
        fix = "free space, or choose other folders"
        raise UserError(Exit.RESOURCES, what, where=str(folder), fix=fix)


def _say(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)
