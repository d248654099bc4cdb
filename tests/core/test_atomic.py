"""Files are complete or absent."""

import os
import signal
import time

import pytest

from hardpairs.core.atomic import atomic_open, write_text


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
