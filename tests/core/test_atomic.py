"""Files are complete or absent."""

import csv
import errno
import json
import os
import resource
import signal
import time

import pytest

from hardpairs.core.atomic import append_text, atomic_open, write_csv, write_json, write_text
from tests.helpers import in_process


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


def test_a_table_is_written_row_by_row_and_not_in_part(tmp_path):
    path = tmp_path / "a.csv"
    rows = ((number, 'a "b", c') for number in range(3))
    assert write_csv(path, ("n", "text"), rows) == 3
    assert path.read_bytes() == b"n,text\r\n" + b"".join(
        b'%d,"a ""b"", c"\r\n' % number for number in range(3)
    )

    def failing():
        yield 1, "x"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_csv(path, ("n", "text"), failing())
    assert write_csv(tmp_path / "b.csv", ("n",), [(1,)], line_end="\n") == 1
    assert (tmp_path / "b.csv").read_bytes() == b"n\n1\n" and path.read_bytes().count(b"b") == 3
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "b.csv"]


def test_a_carriage_return_is_quoted(tmp_path):
    """Python before 3.12.3 writes a bare one, which no reader takes."""
    path = tmp_path / "a.csv"
    rows = [("1", "line one\rline two"), ("2", "plain")]
    write_csv(path, ("n", "text"), rows, line_end="\n")
    assert path.read_bytes() == b'n,text\n"1","line one\rline two"\n2,plain\n'
    with open(path, newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1:] == [list(row) for row in rows]


def test_text_that_utf8_cannot_hold_is_escaped(tmp_path):
    write_csv(tmp_path / "a.csv", ("name",), [("caf\udce9",)])
    write_json(tmp_path / "a.json", {"name": "caf\udce9"})
    assert (tmp_path / "a.csv").read_text() == "name\ncaf\\udce9\n"
    assert json.loads((tmp_path / "a.json").read_text()) == {"name": "caf\udce9"}


@pytest.mark.parametrize("hides", [False, True])
def test_a_full_disk_is_told_with_the_file_and_its_size(hides, tmp_path):
    """Also where PyTorch's archive hides the reason."""
    path = tmp_path / "a"
    write_text(path, "old")

    def write(_):
        with atomic_open(path) as file:
            file.write(bytes(300_000))
            file.flush()
            try:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                if hides:
                    raise RuntimeError("unexpected pos")  # noqa: B904 (as PyTorch does)
                raise

    done = in_process(write)
    assert done.returncode == 5 and "No space left on device" in done.stderr
    assert str(path) in done.stderr and "takes more than 0.3 MB" in done.stderr
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_lines_are_added_whole_or_not_at_all(tmp_path):
    path = tmp_path / "log.csv"
    append_text(path, "a" * 89 + "\n")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # ten more bytes fit
    try:
        with pytest.raises(OSError) as full:
            append_text(path, "b" * 19 + "\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert full.value.filename == str(path) and path.read_text() == "a" * 89 + "\n"
    append_text(path, "é\n")
    assert path.read_text("utf-8").splitlines()[1:] == ["é"]
