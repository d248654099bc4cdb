"""The command ``hardpairs mine`` in this process: starting one of its own takes seconds."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

from hardpairs.cli.mine import main
from hardpairs.core.errors import run_command


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def mine(*arguments: object) -> Done:
    """Return what the command returns and prints."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            run_command(lambda: main([str(argument) for argument in arguments]))
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Done(code, stdout.getvalue(), stderr.getvalue())
