"""Shards and embeddings in S3, read by ranges of bytes.

pip install s3fs "moto[server]"; pytest -m slow tests/data/test_object_storage.py
"""

from __future__ import annotations

import numpy as np
import pytest

from hardpairs.core.chunks import CHUNKS
from hardpairs.core.errors import Exit
from hardpairs.data.embeddings import write_embeddings
from hardpairs.data.opening import open_samples
from tests.helpers import sample, torchrun, write_tar
from tests.mining.command import mine
from tests.mining.searches import themed
from tests.s3 import serving_bucket

pytestmark = pytest.mark.slow
COUNT = 700
FLAGS = ("--dataset", "x", "--topk", "5", "--save_path")


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """Return the URL of a bucket with shards and embeddings, and a folder with the same."""
    CHUNKS._chunks.clear()
    for shard in range(2):
        names = range(8 * shard, 8 * shard + 8)
        write_tar(tmp_path / f"shards/{shard:05d}.tar", {f"{i:09d}": sample(i) for i in names})
    write_embeddings(
        tmp_path / "embeddings",
        image=themed(COUNT, 16),
        text=themed(COUNT, 12, 1),
        rows=np.arange(COUNT),
        keys=[f"{i}" for i in range(COUNT)],
        captions=[f"a caption {i // 2}" for i in range(COUNT)],
        groups=np.arange(COUNT) // 3,
        manifest={"num_samples": COUNT, "model": "m", "dataset_fingerprint": "f"},
    )
    with serving_bucket(monkeypatch) as (url, system):
        for name in ("shards", "embeddings"):
            system.put(f"{tmp_path / name}/", f"{url}/{name}/", recursive=True)
        yield url, tmp_path


def test_shards_are_read_by_ranges(bucket):
    url, folder = bucket
    remote = open_samples(f"{url}/shards/{{00000..00001}}.tar", allow_remote=True)
    local = open_samples(f"{folder}/shards/{{00000..00001}}.tar")
    assert len(remote) == len(local) == 16 and remote.fingerprint == local.fingerprint
    remote.read_ahead(np.arange(16))
    for row in range(16):
        assert remote.image_bytes(row) == local.image_bytes(row)
        assert remote.captions[row] == local.captions[row]


@pytest.mark.parametrize("rows", ["shared", "ring"])
def test_two_processes_mine_embeddings(bucket, rows):
    url, folder = bucket
    alone = mine(*FLAGS, folder / "alone", "--embeddings", folder / "embeddings")
    assert alone.returncode == 0, alone.stderr
    flags = ("-m", "hardpairs.cli", "mine", *FLAGS, str(folder / "two"), "--rows", rows)
    done = torchrun(2, *flags, "--embeddings", f"{url}/embeddings", "--allow-remote")
    assert done.returncode == 0, done.stderr
    for path in (folder / "alone").rglob("*.*"):
        if path.is_file():
            assert (
                path.read_bytes()
                == (folder / "two" / path.relative_to(folder / "alone")).read_bytes()
            )


def test_what_is_not_there_is_named(bucket):
    url, folder = bucket
    for name in (f"{url}/nothing", "s3://no-such-bucket/embeddings"):
        done = mine(*FLAGS, folder / "none", "--embeddings", name, "--allow-remote")
        assert done.returncode in (Exit.USAGE, Exit.BAD_INPUT) and name in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
