"""Complete or absent; exit codes and messages."""

import json
import os
import signal
import time

import pytest

from hardpairs.core.atomic import atomic_open, write_text
from hardpairs.core.errors import Exit, UserError, usage
from tests.helpers import run


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_open(path) as file:
        file.write(b"new")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_killed_writers_never_leave_a_torn_file(tmp_path):
    path = tmp_path / "a"
    for round in range(20):
        child = os.fork()
        if not child:
            for i in range(10_000):
                write_text(path, f"{i}\n" * 2000)
            os._exit(0)
        time.sleep(0.005 + 0.002 * round)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if path.exists():
            lines = path.read_text().splitlines()
            assert len(lines) == 2000 and len(set(lines)) == 1


def test_message_says_what_where_why_and_fix():
    error = usage("no such file", where="a.csv", why="it is needed", fix="check the path")
    assert str(error).splitlines() == [
        "error: no such file",
        "  where: a.csv",
        "  why: it is needed",
        "  fix: check the path",
    ]
    assert error.code == 2


PROGRAM = """
import errno
from formats.errors import run_command, non_finite
def main():
    {body}
run_command(main)
"""


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ("pass", 0, ""),
        ("raise non_finite('NaN', where='row 3')", 6, "error: NaN\n  where: row 3"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        (
            "raise OSError(errno.ENOSPC, 'No space left on device', 'x')",
            5,
            "error: No space left on device",
        ),
        ("raise MemoryError('block')", 5, "out of memory"),
        ("1 / 0", 1, "unexpected ZeroDivisionError"),
    ],
)
def test_exit_codes(tmp_path, body, code, says):
    status = tmp_path / "status"
    done = run(
        "python",
        "-c",
        PROGRAM.format(body=body),
        env={"HARDPAIRS_STATUS_FILE": str(status), "RANK": "1"},
    )
    assert done.returncode == code and says in done.stderr
    assert ("Traceback" in done.stderr) == (code == 1)
    if code:
        assert (
            json.loads(status.read_text())["code"] == code
            and json.loads(status.read_text())["rank"] == 1
        )


def test_user_errors_cross_processes_whole():
    import pickle

    error = UserError(Exit.MISMATCH, "a", where="b", why="c", fix="d")
    copy = pickle.loads(pickle.dumps(error))  # what multiprocessing does
    assert (copy.code, str(copy)) == (4, str(error))
