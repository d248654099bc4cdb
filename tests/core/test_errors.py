"""Messages, exit codes, and the flags that stand for parameters."""

import errno
import io
import json
import pickle
import sys

import pytest

from hardpairs.core.errors import Exit, UserError, flags, mismatch, run_command, tell, usage
from tests.helpers import run


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
from hardpairs.core.errors import run_command, non_finite
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
    assert done.returncode == code and ("Traceback" in done.stderr) == (code == 1)
    if code:
        told = json.loads(status.read_text())
        assert told["code"] == code and told["rank"] == 1 and says in told["message"]
        assert told["message"] not in done.stderr  # the launcher prints it


def test_one_message_of_several_ranks(tmp_path, monkeypatch, capsys):
    """The launcher prints what the first rank says; another rank prints what is not that."""
    monkeypatch.setenv("HARDPAIRS_STATUS_FILE", str(tmp_path / "status"))
    for message in ("error: a", "error: a", "error: b"):
        tell(3, message)
    assert capsys.readouterr().err == "error: b\n"
    assert json.loads((tmp_path / "status").read_text())["message"] == "error: a"
    monkeypatch.setenv("HARDPAIRS_STATUS_FILE", str(tmp_path / "gone/status"))
    tell(3, "error: a")
    assert capsys.readouterr().err == "error: a\n"


def test_ctrl_c_ends_a_command_whose_queue_is_locked():
    """Without an end at once, the queue's exit handler waits for the lock forever."""
    body = "global queue; import multiprocessing; queue = multiprocessing.Queue(); queue.put(1); "
    body += "queue._notempty.acquire(); raise KeyboardInterrupt"
    done = run("python", "-c", PROGRAM.format(body=body), timeout=60)
    assert done.returncode == 130 and "interrupted" in done.stderr


def test_user_errors_cross_processes_whole():
    error = UserError(Exit.MISMATCH, "a", where="b", why="c", fix="d")
    copy = pickle.loads(pickle.dumps(error))  # what multiprocessing does
    assert (copy.code, str(copy)) == (4, str(error))


def test_a_command_puts_its_flags_in_the_place_of_parameters():
    with (
        pytest.raises(UserError) as caught,
        flags(model="--image-model"),
        flags(["top_k", "seed"], separator="--csv-separator"),
    ):
        raise mismatch("`top_k` 3 of `model`", where="`x`", why="`seed`", fix="`separator` ','")
    error = caught.value
    assert (error.code, error.what) == (Exit.MISMATCH, "--top-k 3 of --image-model")
    assert (error.where, error.why, error.fix) == ("`x`", "--seed", "--csv-separator ','")


def test_other_exceptions_pass_the_translation_unchanged():
    with pytest.raises(ValueError, match="`top_k`"), flags(["top_k"]):
        raise ValueError("`top_k`")


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "é写\udce9".encode("utf-8", "surrogateescape")),
        ("cp1252", b"\xe9\\u5199\xe9"),
        ("ascii", b"\\xe9\\u5199\xe9"),
    ],
)
def test_output_that_the_terminal_cannot_show_is_escaped(monkeypatch, encoding, shown):
    """The bytes of a file's name stay as they are, for the next program of a pipe."""
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding))
    with pytest.raises(SystemExit) as stop:
        run_command(lambda: print("é写\udce9", end=""))
    assert stop.value.code == 0 and output.getvalue() == shown


def test_too_many_open_files(capsys):
    with pytest.raises(SystemExit) as stop:
        run_command(lambda: (_ for _ in ()).throw(OSError(errno.EMFILE, "too many", "a.tar")))
    assert stop.value.code == 5 and "ulimit -n" in capsys.readouterr().err
