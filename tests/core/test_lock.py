"""One job per folder: who holds a lock, who is dead, and what the second one reads."""

import json
import os
import signal
import socket
import time

import pytest

from hardpairs.core.errors import Exit, UserError
from hardpairs.core.lock import SILENT_SECONDS, locked


@pytest.fixture
def held(tmp_path):
    """A lock file, held by another process until it is killed; and that process."""
    path, ready = tmp_path / "run/.job.lock", tmp_path / "ready"
    child = os.fork()
    if not child:
        with locked(path, "the run"):
            ready.touch()
            time.sleep(60)
        os._exit(0)
    while not ready.exists():
        time.sleep(0.01)
    yield path, child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_the_second_job_is_refused_and_reads_who_is_there(held):
    path, child = held
    for _ in range(2):
        with (
            pytest.raises(UserError, match="another job works on the run") as error,
            locked(path, "the run"),
        ):
            pytest.fail("both are in")
        assert error.value.code == Exit.USAGE
        assert f"process {child} on {socket.gethostname()}" in error.value.where
    assert os.listdir(path.parent) == [".job.lock"]


def test_the_lock_of_a_killed_job_is_taken_over(tmp_path):
    path = tmp_path / ".job.lock"
    child = os.fork()
    if not child:
        with locked(path, "the run"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert path.exists()
    with locked(path, "the run"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not os.listdir(tmp_path)


def test_what_was_killed_while_it_took_the_lock_leaves_nothing(tmp_path):
    """Its own file is there before the lock is."""
    path, here = tmp_path / ".job.lock", socket.gethostname()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    ours = tmp_path / f".job.lock.{here}.{os.getppid()}"
    for left in (f"{here}.{child}", f"{here}.{child}.dead", f"other.{child}"):
        (tmp_path / f".job.lock.{left}").write_text("{torn")
    ours.touch()
    with locked(path, "the run"):
        pass
    assert {*tmp_path.iterdir()} == {ours, tmp_path / f".job.lock.other.{child}"}


@pytest.mark.parametrize("content", [b"", b"{torn", b"[]", b'{"host": 1}'])
def test_a_torn_lock_is_taken_over_in_time(content, tmp_path):
    path = tmp_path / ".job.lock"
    path.write_bytes(content)
    os.utime(path, (time.time() - 200,) * 2)
    with locked(path, "the run"):
        pass
    assert not path.exists()


def test_another_process_of_the_same_number_is_not_the_holder(tmp_path):
    path = tmp_path / ".job.lock"
    holder = {"host": socket.gethostname(), "pid": os.getppid(), "start": "1", "since": ""}
    path.write_text(json.dumps(holder))
    with locked(path, "the run"):
        pass


def test_a_holder_on_another_machine_is_dead_when_it_is_silent(tmp_path):
    path = tmp_path / ".job.lock"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "start": "1", "since": "then"}))
    with pytest.raises(UserError, match="process 1 on elsewhere since then"), locked(path, "it"):
        pass
    os.utime(path, (time.time() - SILENT_SECONDS - 5,) * 2)
    with locked(path, "it"):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_of_many_that_start_at_once_one_is_in(tmp_path):
    path = tmp_path / ".job.lock"
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": 1, "start": "0"}))
    start = time.monotonic() + 0.1
    children = []
    for number in range(8):
        children.append(os.fork())
        if not children[-1]:
            time.sleep(max(0, start - time.monotonic()))
            try:
                with locked(path, "it"):
                    end = time.monotonic() + 20
                    while len([*tmp_path.glob("out*")]) < 7 and time.monotonic() < end:
                        time.sleep(0.01)
            except UserError:
                (tmp_path / f"out{number}").touch()
                os._exit(2)
            os._exit(0)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes.count(0) == 1 and codes.count(2) == 7


def test_what_killed_jobs_left_as_they_tried_is_removed(tmp_path):
    path, host = tmp_path / ".job.lock", socket.gethostname()
    for name in (f"{host}.{2**30}", f"{host}.{2**30}.dead", f"{host}.{os.getpid()}", "other.1"):
        (tmp_path / f".job.lock.{name}").write_text("{")
    with locked(path, "it"):
        assert set(os.listdir(tmp_path)) == {".job.lock", ".job.lock.other.1"}
