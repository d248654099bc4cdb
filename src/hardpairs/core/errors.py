"""What a user reads when something is wrong, and the exit code a script reads.

Every expected failure is a ``UserError``: one message saying what is wrong, where, why it matters and what to do. ``run_command``
turns it into the process's exit code, without a traceback.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command of the project."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    BAD_INPUT = 3
    MISMATCH = 4
    RESOURCES = 5
    NON_FINITE = 6
    PEER_FAILED = 7
    PREEMPTED = 75
    INTERRUPTED = 130


class UserError(Exception):
    """An expected failure, told to the user in one message.

    Args:
        code: the exit code of the process.
        what: what is wrong, with the offending value.
        where: file, member, row or flag.
        why: why it matters, where that is not obvious.
        fix: what to do, as a command or a flag where there is one.
    """

    def __init__(
        self, code: Exit, what: str, *, where: str = "", why: str = "", fix: str = ""
    ) -> None:
        self.code = Exit(code)
        self.what, self.where, self.why, self.fix = what, where, why, fix
        super().__init__(self.text())

    def text(self) -> str:
        lines = [f"error: {self.what}"]
        lines += [
            f"  {name}: {text}"
            for name, text in (("where", self.where), ("why", self.why), ("fix", self.fix))
            if text
        ]
        return "\n".join(lines)

    def __reduce__(self):  # crosses process borders (DataLoader workers) with its fields
        return _rebuild, (self.code, self.what, self.where, self.why, self.fix)


def _rebuild(code: Exit, what: str, where: str, why: str, fix: str) -> UserError:
    return UserError(code, what, where=where, why=why, fix=fix)


def usage(what: str, **fields: str) -> UserError:
    """Wrong command line (exit 2)."""
    return UserError(Exit.USAGE, what, **fields)


def bad_input(what: str, **fields: str) -> UserError:
    """Bad input data (exit 3)."""
    return UserError(Exit.BAD_INPUT, what, **fields)


def mismatch(what: str, **fields: str) -> UserError:
    """Two things that do not belong together, or a damaged file (exit 4)."""
    return UserError(Exit.MISMATCH, what, **fields)


def non_finite(what: str, **fields: str) -> UserError:
    """NaN or infinity where a number was needed (exit 6)."""
    return UserError(Exit.NON_FINITE, what, **fields)


def whole_number(at_least: int) -> Callable[[str], int]:
    """An argparse type: a whole number from ``at_least`` on."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = at_least - 1
        if value < at_least:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {at_least}, not {text!r}"
            )
        return value

    return parse


def run_command(main: Callable[[], int | None]) -> None:
    """Runs a command's ``main`` and leaves the process with the right exit code.

    Under torchrun, which returns 1 whatever a rank returned, the first failing rank also leaves its code and message in the file
    named by ``HARDPAIRS_STATUS_FILE``; ``scripts/train_node.sh`` reads it.
    """
    code, message = _outcome(main)
    sys.stdout.flush()
    if code:
        _write_status(code, message or f"error: stopped with code {code}")
        if message:
            print(message, file=sys.stderr, flush=True)
    sys.exit(int(code))


def _outcome(main: Callable[[], int | None]) -> tuple[int, str]:
    try:
        code = main() or 0
        return code, f"error: stopped with code {code}" if code else ""
    except UserError as error:
        return error.code, error.text()
    except KeyboardInterrupt:
        return (
            Exit.INTERRUPTED,
            "interrupted: what is finished stays; the same command goes on from there",
        )
    except SystemExit as stop:
        if isinstance(stop.code, str):
            return Exit.UNEXPECTED, stop.code
        return int(stop.code or 0), ""  # argparse has said it
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the reader left (``| head``); nothing is wrong
        return Exit.OK, ""
    except MemoryError as error:
        return Exit.RESOURCES, UserError(
            Exit.RESOURCES, f"out of memory: {error}", fix="use a smaller batch or block"
        ).text()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            where = str(error.filename or "")
            return Exit.RESOURCES, UserError(
                Exit.RESOURCES,
                str(error.strerror),
                where=where,
                fix="free space or choose another folder",
            ).text()
        if (
            isinstance(
                error,
                PermissionError
                | NotADirectoryError
                | IsADirectoryError
                | FileExistsError
                | FileNotFoundError,
            )
            and error.filename
        ):
            return Exit.RESOURCES, UserError(
                Exit.RESOURCES,
                str(error.strerror),
                where=str(error.filename),
                fix="check the path, or choose another",
            ).text()
        traceback.print_exc()
        return Exit.UNEXPECTED, f"error: unexpected {type(error).__name__}: {error}"
    except Exception as error:  # the last resort: a bug of ours, told with its traceback
        traceback.print_exc()
        return Exit.UNEXPECTED, f"error: unexpected {type(error).__name__}: {error}"


def _write_status(code: int, message: str) -> None:
    path = os.environ.get("HARDPAIRS_STATUS_FILE")
    if not path:
        return
    try:
        with open(path, "x", encoding="utf-8") as file:  # "x": the first failing rank wins
            json.dump(
                {"code": int(code), "message": message, "rank": int(os.environ.get("RANK", 0))},
                file,
            )
    except OSError:
        pass  # another rank was first, or the folder is gone: the message on stderr remains
