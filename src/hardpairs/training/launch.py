"""Start the trainer under torchrun, and pass on the exit code and message of the rank that failed.

Usage:

    python -m hardpairs.training.launch [--print] TORCHRUN-OPTIONS -- TRAINING-FLAGS

torchrun returns 1 whatever a rank returned. Therefore the rank that fails first writes its code and
message to the file that ``HARDPAIRS_STATUS_FILE`` names (``hardpairs.core.errors``).
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from hardpairs.core.errors import Exit


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


def launch(options: Sequence[str], flags: Sequence[str], *, output: IO[bytes] | None = None) -> int:
    """Run the trainer to its end. SIGTERM is passed on to it.

    Args:
        options: torchrun's options, as for ``command_line``.
        flags: The trainer's flags.
        output: File that takes stdout and stderr; this process's own when None.

    Returns:
        The exit code: of the rank that failed first, where one wrote its status.
    """
    with tempfile.TemporaryDirectory(prefix="hardpairs-") as folder:
        status = Path(folder) / "status.json"
        environment = {**os.environ, "HARDPAIRS_STATUS_FILE": str(status)}
        command = command_line(options, flags)
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        with process, _passing_on_sigterm(process):
            code = process.wait()
        if code and status.is_file():
            failure = json.loads(status.read_text(encoding="utf-8"))
            text = f"\n{failure['message']}\n  rank: {failure['rank']}\n"
            if options and output:
                output.write(text.encode("utf-8"))
            elif options:
                print(text, end="", file=sys.stderr)
            _tell_job(int(failure["code"]))
            return int(failure["code"])
        return code if code >= 0 else 128 - code


def _tell_job(code: int) -> None:
    """Write the code for a job on several machines, unless another machine has failed before."""
    path = os.environ.get("HARDPAIRS_JOB_STATUS")
    if path:
        with contextlib.suppress(OSError), open(path, "x", encoding="utf-8") as file:
            file.write(str(code))


@contextlib.contextmanager
def _passing_on_sigterm(process: subprocess.Popen[bytes]) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        yield
    except KeyboardInterrupt:  # Ctrl-C reaches the whole process group: the trainer stops by itself
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def main() -> int:
    """Run the module's command line and return the exit code."""
    words = sys.argv[1:]
    split = words.index("--")
    options, flags = words[:split], [word for word in words[split + 1 :] if word != "--print"]
    if "--print" in words:
        print(shlex.join(command_line(options, flags)))
        return 0
    try:
        return launch(options, flags)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
