"""Expected failures: one message for the user, one exit code for scripts.

Every expected failure is a ``UserError``. Its message says what is wrong, where, why it matters and
what to do. ``run_command`` turns it into the exit code of the process, without a traceback.

A library function knows its parameters and not the flags of the commands that call it. Its errors
name a parameter in backticks (``"`top_k` must be at least 1"``); a command wraps its calls in
``flags``, and its user reads ``--top-k must be at least 1``.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import errno
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import Any, NoReturn

from hardpairs.core import interrupts


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
    """An expected failure.

    Args:
        code: The exit code of the process.
        what: What is wrong, with the value at fault.
        where: File, member or row.
        why: Why it matters, where that is not obvious.
        fix: What to do.
    """

    def __init__(
        self, code: int, what: str, *, where: str = "", why: str = "", fix: str = ""
    ) -> None:
        self.code = Exit(code)
        self.what, self.where, self.why, self.fix = what, where, why, fix
        super().__init__(self.text())

    def text(self) -> str:
        """Return the message: a line for what is wrong, and a line for each field that is set."""
        fields = (("where", self.where), ("why", self.why), ("fix", self.fix))
        return "\n".join([f"error: {self.what}", *(f"  {k}: {v}" for k, v in fields if v)])

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the fields when the error crosses to another process (data loader workers)."""
        return _rebuild, (self.code, self.what, self.where, self.why, self.fix)


def _rebuild(code: int, what: str, where: str, why: str, fix: str) -> UserError:
    return UserError(code, what, where=where, why=why, fix=fix)


@contextlib.contextmanager
def flags(names: Iterable[str] = (), **renamed: str) -> Iterator[None]:
    """Translate the parameters in the errors of a block into a command's flags.

    A `` `parameter` `` in the message becomes ``--parameter``, with hyphens. Parameters that are
    neither in ``names`` nor in ``renamed`` stay as they are, so that blocks can be nested; those
    that no block translates, ``run_command`` writes as flags of the same name.

    Args:
        names: Parameters whose flag has their name, such as ``vars(args)``.
        renamed: Flags of other parameters, by parameter.

    Raises:
        UserError: The block's own error, in the command's words.

    Example:
        >>> with flags(["top_k"], separator="--csv-separator"):
        ...     raise usage("`top_k` is 0", fix="at least 1")
        Traceback (most recent call last):
        hardpairs.core.errors.UserError: error: --top-k is 0
          fix: at least 1
    """
    flag_of = {name: _flag(name) for name in names} | renamed
    try:
        yield
    except UserError as error:
        raise _translated(error, lambda name: flag_of.get(name, f"`{name}`")) from error.__cause__


def _flag(parameter: str) -> str:
    return "--" + parameter.replace("_", "-")


def _translated(error: UserError, flag_of: Callable[[str], str]) -> UserError:
    fields = (
        re.sub(r"`(\w+)`", lambda match: flag_of(match[1]), text)
        for text in (error.what, error.where, error.why, error.fix)
    )
    return _rebuild(error.code, *fields)


def usage(what: str, **fields: str) -> UserError:
    """Return the error of a wrong argument or combination of arguments (exit 2)."""
    return UserError(Exit.USAGE, what, **fields)


def bad_input(what: str, **fields: str) -> UserError:
    """Return the error of bad input data (exit 3)."""
    return UserError(Exit.BAD_INPUT, what, **fields)


def mismatch(what: str, **fields: str) -> UserError:
    """Return the error of files that do not belong together, or of a damaged file (exit 4)."""
    return UserError(Exit.MISMATCH, what, **fields)


def out_of_resources(what: str, **fields: str) -> UserError:
    """Return the error of a disk or memory that cannot be used (exit 5)."""
    return UserError(Exit.RESOURCES, what, **fields)


def too_many_open(where: str) -> UserError:
    """Return the error of a file that cannot be opened beside the others (exit 5)."""
    return out_of_resources(
        "too many open files", where=where, fix="allow more (ulimit -n 4096), or use fewer workers"
    )


def non_finite(what: str, **fields: str) -> UserError:
    """Return the error of NaN or infinity in place of a number (exit 6)."""
    return UserError(Exit.NON_FINITE, what, **fields)


def whole_number(at_least: int) -> Callable[[str], int]:
    """Return an argparse type: a whole number from ``at_least`` on."""

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


def byte_count(text: str) -> int:
    """Return the bytes that a size such as 800M or 8G names, for argparse's ``type``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"must be a size such as 800M or 8G, not {text!r}")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " "))


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command's ``main`` and end the process with its exit code.

    Under torchrun, which returns 1 whatever a rank returned, the first failing rank leaves its code
    and message to the launcher; see ``tell``.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        codecs.register_error("bytes_or_escapes", _bytes_or_escapes)
        sys.stdout.reconfigure(errors="bytes_or_escapes")
    code, message = _outcome(main)
    sys.stdout.flush()
    if code:
        tell(code, message)
    if code in (Exit.INTERRUPTED, Exit.PREEMPTED):
        end_at_once(code)
    sys.exit(int(code))


def _bytes_or_escapes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode what the output cannot hold: bytes of a file's name as they are, others escaped."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    encoded = (
        bytes([ord(sign) - 0xDC00])
        if "\udc80" <= sign <= "\udcff"
        else sign.encode("ascii", "backslashreplace")
        for sign in text
    )
    return b"".join(encoded), error.end


def end_at_once(code: int) -> NoReturn:
    """End the process and its workers without exit handlers.

    A signal can interrupt a thread that holds the lock of a ``multiprocessing`` queue, such as that
    of a data loader. The handler that closes the queue at exit would then wait forever. Workers are
    killed: they ignore the signals that ask a run to stop.
    """
    if "multiprocessing" in sys.modules:
        for worker in sys.modules["multiprocessing"].active_children():
            worker.kill()
    if "hardpairs.core.lock" in sys.modules:
        sys.modules["hardpairs.core.lock"].release_all()
    os._exit(code)


_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)
_WRONG_PATH = (
    PermissionError,
    NotADirectoryError,
    IsADirectoryError,
    FileExistsError,
    FileNotFoundError,
)


def _outcome(main: Callable[[], int | None]) -> tuple[int, str]:
    """Return the exit code and the last message of a command."""
    try:
        with interrupts.Caught():
            code = main() or 0
        return code, f"error: stopped with code {code}" if code else ""
    except KeyboardInterrupt:
        return Exit.INTERRUPTED, interrupts.message()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            return Exit.UNEXPECTED, stop.code
        return int(stop.code or 0), ""  # the parser has printed the message
    except BrokenPipeError:  # the reader of our output has ended, as ``head`` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK, ""
    except Exception as error:
        expected = _as_user_error(error)
        if expected is not None:
            return expected.code, _translated(expected, _flag).text()
        traceback.print_exc()
        return Exit.UNEXPECTED, f"error: unexpected {type(error).__name__}: {error}"


def _as_user_error(error: Exception) -> UserError | None:
    from hardpairs.core.peers import peer_error  # which imports this module

    if isinstance(error, UserError):
        return error
    if (expected := peer_error(error)) is not None:
        return expected
    if isinstance(error, MemoryError):
        return out_of_resources(f"out of memory: {error}", fix="use a smaller batch or block")
    error = full_disk(error) or error
    if not isinstance(error, OSError):
        return None
    where = str(error.filename or "")
    if error.errno in _DISK_FULL:
        fix = "free space or choose another folder"
        why = getattr(error, "why", "")
        return out_of_resources(str(error.strerror), where=where, why=why, fix=fix)
    if error.errno in TOO_MANY_OPEN:
        return too_many_open(where)
    if isinstance(error, _WRONG_PATH) and where:
        fix = "check the path, or choose another"
        return out_of_resources(str(error.strerror), where=where, fix=fix)
    return None


def full_disk(error: BaseException) -> OSError | None:
    """Return the error of a full disk or quota that is behind an error, if one is.

    PyTorch reports what its archive looks like after a write that failed.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _DISK_FULL:
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def tell(code: int, message: str) -> None:
    """Print a failure's message, or leave it to the launcher, which prints it once and last.

    Args:
        code: The exit code.
        message: The last message; empty where the command has printed it.
    """
    is_left = write_status(code, message or f"error: stopped with code {code}")
    if message and not is_left:
        print(message, file=sys.stderr, flush=True)


def write_status(code: int, message: str, rank: int | None = None) -> bool:
    """Write a failure for the launcher, unless another rank has failed before.

    The file is that of ``HARDPAIRS_STATUS_FILE`` (``hardpairs.training.trainer_process``).

    Args:
        code: The exit code.
        message: The last message.
        rank: The rank that failed; this process's own by default.

    Returns:
        Whether the launcher will print this message, of this rank or of another.
    """
    path = os.environ.get("HARDPAIRS_STATUS_FILE")
    if not path:
        return False
    rank = int(os.environ.get("RANK", 0)) if rank is None else rank
    status = {"code": int(code), "message": message, "rank": rank}
    try:
        with open(path, "x", encoding="utf-8") as file:
            json.dump(status, file)
    except FileExistsError:
        with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
            return bool(json.load(file)["message"] == message)
        return False
    except OSError:  # the launcher is gone, and its folder with it
        return False
    return True
