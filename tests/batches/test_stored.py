"""Arrays that are made once, by real processes."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from hardpairs.batches.stored import made_once
from tests.helpers import ROOT

CHILD = """
import sys, time
from pathlib import Path
import numpy as np
from hardpairs.batches.stored import made_once
def make():
    with open(sys.argv[2], "a") as file:
        file.write("made ")
    time.sleep(0.5)
    return np.arange(5)
assert made_once(Path(sys.argv[1]), "x", {"a": 1}, make).tolist() == list(range(5))
"""


def test_processes_make_it_once(tmp_path):
    command = (sys.executable, "-c", CHILD, str(tmp_path), str(tmp_path / "log"))
    children = [
        subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
        for _ in range(3)
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "made "
    assert len(list((tmp_path / "batching").iterdir())) == 1


def test_another_recipe_is_another_array(tmp_path):
    for value in (1, 2, 1):
        assert (
            made_once(tmp_path, "x", {"a": value}, lambda value=value: np.array([value]))[0]
            == value
        )


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "batching").write_text("a file stands where the folder would")
    assert made_once(tmp_path, "x", {}, lambda: np.array([3]))[0] == 3


def test_a_file_system_that_is_read_only(tmp_path, monkeypatch):
    def refuse(path):
        raise OSError(errno.EROFS, "read-only file system")

    monkeypatch.setattr("hardpairs.core.progress.atomic_open", refuse)
    assert made_once(tmp_path, "x", {}, lambda: np.array([3]))[0] == 3
    monkeypatch.setattr(
        "hardpairs.core.progress.atomic_open",
        lambda path: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")),
    )
    with pytest.raises(OSError, match="full"):
        made_once(tmp_path, "x", {}, lambda: np.array([3]))
