"""Run the trainer under torchrun to its end: signals go in, exit code and message come out.

torchrun returns 1 whatever a rank returned. Therefore the rank that fails first writes its code and
message to the file that ``HARDPAIRS_STATUS_FILE`` names (``hardpairs.core.errors``), and the
message is printed here, after all that other ranks say.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from hardpairs.core.errors import Exit, UserError, usage
from hardpairs.core.interrupts import Held
from hardpairs.core.processes import PARENT, end_with_parent

PASSED_ON = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGUSR1,
    signal.SIGHUP: signal.SIGTERM,
    signal.SIGINT: signal.SIGINT,
}
"""Signals to the launcher, and what the trainer gets for each."""


def one_machine(processes: int) -> list[str]:
    """Return torchrun's options for processes of this machine alone."""
    return ["--standalone", "--nproc_per_node", str(processes)]


def command_line(options: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Return the command that starts the trainer.

    Args:
        options: torchrun's options; without any the trainer runs in one process by itself.
        flags: The trainer's flags.

    Returns:
        The words of the command. ``--`` keeps torchrun from taking the trainer's flags for its own.
    """
    start = ["-m", "hardpairs.training.torchrun", *options, "-m", "--"] if options else ["-m"]
    return [sys.executable, *start, "hardpairs.cli", "train", *flags]


class _Relay:
    """Passes signals on to a process, which may not have started yet.

    Attributes:
        received: The signals that came.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Handle a signal."""
        self.received.append(number)
        if self._process is not None:
            self._process.send_signal(PASSED_ON[signal.Signals(number)])

    def serve(self, process: subprocess.Popen[bytes]) -> None:
        """Pass on what has come and what will come."""
        self._process = process
        for number in self.received:
            process.send_signal(PASSED_ON[signal.Signals(number)])


@contextlib.contextmanager
def _relaying() -> Iterator[_Relay]:
    """Receive signals for the trainer within the block, but those that are ignored (``nohup``)."""
    relay = _Relay()
    before = {number: signal.getsignal(number) for number in PASSED_ON}
    taken = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in taken:
        signal.signal(number, relay)
    try:
        yield relay
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)


def resuming(flags: Sequence[str]) -> list[str]:
    """Return the trainer's flags with ``--resume latest``, unless they say what to resume.

    A run without a name cannot be found again, and what is kept elsewhere (``--remote-sync``)
    OpenCLIP resumes on its own terms.
    """
    given = {word.partition("=")[0].lstrip("-").replace("-", "_") for word in flags}
    given |= {*_in_config(flags)}
    if "name" not in given or given & {"resume", "remote_sync"}:
        return [*flags]
    return [*flags, "--resume", "latest"]


def _in_config(flags: Sequence[str]) -> list[str]:
    """Return the names of flags that a run's ``--config`` holds; the trainer judges a bad file."""
    paths = [after for word, after in itertools.pairwise(flags) if word == "--config"]
    paths += [word.partition("=")[2] for word in flags if word.startswith("--config=")]
    if not paths:
        return []
    from hardpairs.training.hooks.config_file import read_config

    with contextlib.suppress(UserError):
        return [str(key).replace("-", "_") for key in read_config(paths[-1])]
    return []


def launch(options: Sequence[str], flags: Sequence[str], *, output: IO[bytes] | None = None) -> int:
    """Run the trainer to its end. Signals that ask for an end are passed on to it.

    The trainer's processes are in a session of their own, so that each signal reaches them once,
    whether it was sent to this process or by a terminal to its whole group. They end when this
    process is killed.

    Args:
        options: torchrun's options, as for ``command_line``.
        flags: The trainer's flags.
        output: File that takes stdout and stderr; this process's own when None.

    Returns:
        The exit code: of the rank that failed first, where one wrote its status.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the trainer.
    """
    with tempfile.TemporaryDirectory(prefix="hardpairs-") as folder:
        status = Path(folder) / "status.json"
        own = {"HARDPAIRS_STATUS_FILE": str(status), PARENT: str(os.getpid())}
        command, environment = command_line(options, flags), {**os.environ, **own}
        with _relaying() as relay:
            with Held():
                process = subprocess.Popen(
                    command, env=environment, stdout=output, stderr=output, start_new_session=True
                )
            with process:
                relay.serve(process)
                code = process.wait()
        failure = json.loads(status.read_text("utf-8")) if code and status.is_file() else None
        if failure is not None:
            _print_last(failure, output, with_rank=bool(options))
        if signal.SIGINT in relay.received and code:
            raise KeyboardInterrupt
        if failure is not None:
            _tell_job(int(failure["code"]))
            return int(failure["code"])
        if -code in {PASSED_ON[signal.Signals(number)] for number in relay.received}:
            _tell_job(Exit.PREEMPTED)  # the trainer did not listen yet
            return Exit.PREEMPTED
        return code if code >= 0 else 128 - code


def _print_last(failure: dict[str, Any], output: IO[bytes] | None, *, with_rank: bool) -> None:
    """Print the message of the rank that failed first, which has not printed it itself.

    Args:
        failure: What the rank wrote (``hardpairs.core.errors.write_status``).
        output: File that takes the message; stderr when None.
        with_rank: Whether there are several ranks; Ctrl-C comes to all of them.
    """
    text = f"{failure['message']}\n"
    if with_rank and failure["code"] != Exit.INTERRUPTED:
        text = f"\n{text}  rank: {failure['rank']}\n"
    if output:
        output.write(text.encode("utf-8"))
    else:
        print(text, end="", file=sys.stderr)


def _tell_job(code: int) -> None:
    """Write the code for a job on several machines, unless another machine has failed before."""
    path = os.environ.get("HARDPAIRS_JOB_STATUS")
    if path:
        with contextlib.suppress(OSError), open(path, "x", encoding="utf-8") as file:
            file.write(str(code))


def main() -> int:
    """Run the command line and return the exit code.

    Raises:
        SystemExit: The trainer failed, and has said why.
    """
    end_with_parent()
    words = sys.argv[1:]
    if "--" not in words:
        raise usage(
            "there is no -- before the trainer's flags",
            fix="put -- between torchrun's options and the trainer's flags",
        )
    split = words.index("--")
    flags = resuming([word for word in words[split + 1 :] if word != "--print"])
    options = words[:split]
    if "--print" in words:
        print(shlex.join(command_line(options, flags)))
        return 0
    try:
        code = launch(options, flags)
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    sys.exit(code)
