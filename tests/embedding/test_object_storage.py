"""Embeddings that processes write into S3 together.

pip install s3fs "moto[server]"; pytest -m slow tests/embedding/test_object_storage.py
"""

from __future__ import annotations

import sys

import pytest

from hardpairs.core.errors import Exit
from hardpairs.data.embeddings import open_embeddings
from tests.embedding.colors import RANDOM
from tests.helpers import ROOT
from tests.processes import start
from tests.s3 import serving_bucket

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(monkeypatch):
    with serving_bucket(monkeypatch) as (url, system):
        yield url, system


def run(folder, table, out, *flags):
    """Start a process that embeds, see ``tests.embedding.sharing``."""
    line = [sys.executable, "-m", "tests.embedding.sharing", str(table), str(out), *flags]
    number = len([*folder.glob("errors*")])
    return start(line, {}, ROOT, folder / f"printed{number}", folder / f"errors{number}")


def files(place, system=None):
    if system is None:
        return {
            path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*.*")
        }
    found = system.find(place)
    return {
        name.removeprefix(place.removeprefix("s3://") + "/"): system.cat(name) for name in found
    }


@pytest.mark.parametrize("host", [[], ["--host", "elsewhere"]])
def test_killed_processes_and_one_that_comes_late(bucket, table, tmp_path, host):
    """A process of this machine is known to be gone; another one's lease ends by time."""
    url, system = bucket
    alone = run(tmp_path, table, tmp_path / "alone")
    alone.join()
    assert alone.exitcode == 0
    for place in ("a part is encoded", "all but the manifest is there"):
        killed = run(tmp_path, table, f"{url}/e", "--at", place, "SIGKILL", *host)
        killed.join()
        assert killed.exitcode == -9
        assert any(name.endswith(".lease") for name in files(f"{url}/e", system))
    both = [run(tmp_path, table, f"{url}/e") for _ in range(2)]
    for process in both:
        process.join()
        assert process.exitcode == 0, (tmp_path / "errors3").read_text()
    assert files(f"{url}/e", system) == files(tmp_path / "alone")
    assert len(open_embeddings(f"{url}/e", verify=True, allow_remote=True).rows) == 40


def test_the_command_says_what_it_cannot_write_to(bucket, table, tmp_path, capsys):
    from hardpairs.cli import embed
    from hardpairs.core.errors import run_command

    url, system = bucket
    command = ["--csv", str(table), *RANDOM, "--workers", "0", "--allow-remote", "--out"]
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: embed.main([*command, "s3://no-such-bucket/e"]))
    assert ended.value.code == Exit.BAD_INPUT
    told = capsys.readouterr().err
    assert "s3://no-such-bucket/e" in told and "does not exist" in told, told
    embed.main([*command, f"{url}/e"])
    assert "40 pairs = 40 embedded" in capsys.readouterr().err
    assert "manifest.json" in files(f"{url}/e", system)
