"""Shards that img2dataset downloads with Ray or Spark, embedded by two processes: docs/embed.md's recipe."""

from __future__ import annotations

import contextlib
import functools
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hardpairs.data.embeddings import open_embeddings
from hardpairs.data.opening import open_samples
from tests.embedding.test_embed import content
from tests.embedding.test_making import begin, whole
from tests.helpers import run

pytestmark = pytest.mark.slow
FLAGS = (
    *("--input_format", "tsv", "--url_col", "url", "--caption_col", "caption"),
    *("--output_format", "webdataset", "--number_sample_per_shard", "10", "--image_size", "32"),
    *("--processes_count", "2", "--thread_count", "2", "--subjob_size", "2"),
    *("--enable_wandb", "False", "--disable_all_reencoding", "True"),
)


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Tell nothing of requests."""


@contextlib.contextmanager
def served(folder):
    """The address of a server of a folder's files, for the time of a block."""
    handler = functools.partial(Silent, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def skip_without(distributor):
    for package in ("img2dataset", distributor):
        pytest.importorskip(package, reason=f"{package} is not installed")
    if distributor == "pyspark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not installed")


@pytest.mark.parametrize("distributor", ["ray", "pyspark"])
def test_shards_of_a_distributed_download_are_embedded(table, tmp_path, distributor):
    skip_without(distributor)
    shards, out = tmp_path / "data", tmp_path / "shared"
    (tmp_path / "images/7.jpg").unlink()  # a link that is dead
    with served(tmp_path / "images") as address:
        rows = [f"{address}/{i}.jpg\tpicture number {i}" for i in range(40)]
        (tmp_path / "urls.tsv").write_text("\n".join(["url\tcaption", *rows]) + "\n")
        program = "from img2dataset.main import main; main()"
        where = ("--url_list", str(tmp_path / "urls.tsv"), "--output_folder", str(shards))
        environment = {"no_proxy": "*", "WANDB_MODE": "disabled", "NO_ALBUMENTATIONS_UPDATE": "1"}
        environment["PYSPARK_PYTHON"] = sys.executable  # Spark would take the first one on the path
        line = ("python", "-c", program, *where, *FLAGS, "--distributor", distributor)
        done = run(*line, env=environment, fresh=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len([*shards.glob("*.tar")]) == 4
    samples = open_samples(shards)
    assert sorted(samples.captions) == sorted(f"picture number {i}" for i in range(40) if i != 7)
    processes = [begin(shards, out) for _ in range(2)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(open_embeddings(out, verify=True).rows) == 39
    assert content(out) == whole(shards, tmp_path)
