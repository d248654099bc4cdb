"""Tables and tars behind URLs: the same samples as on disk, read by byte ranges, and nothing copied."""

from __future__ import annotations

import multiprocessing
import re

import pytest

from hardpairs.core import ranges
from hardpairs.core.errors import UserError
from hardpairs.data.images import UnreadableImage, read_image
from hardpairs.data.opening import open_samples
from tests.file_server import Flaky, Ranges, WholeFiles, in_memory, serving


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(ranges, "WAITS", (0.0,) * len(ranges.WAITS))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """URL of ``tmp_path`` on a loopback server; what is noted about remote files goes to a cache folder in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with serving(tmp_path, Ranges) as url:
        yield url


def assert_same(remote, local):
    assert (
        remote.fingerprint == local.fingerprint
        and remote.rejected == local.rejected
        and len(remote) == len(local)
    )
    usable = [row for row in range(len(local)) if row not in local.rejected]
    assert [remote.image_bytes(row) for row in usable] == [local.image_bytes(row) for row in usable]


def test_tars_over_http(shards, server):
    url, local = f"{server}/shards", open_samples(shards)
    assert_same(open_samples(f"{url}/{{00000..00002}}.tar", allow_remote=True), local)
    noted = sorted(path.name for path in (shards.parent / "cache/openclip-hardpairs").iterdir())
    assert len(noted) == 3 and all(
        re.fullmatch(r"0000\d-\w{16}\.index\.npz", name) for name in noted
    )
    again = open_samples(f"{url}/{{00000..00002}}.tar", allow_remote=True)
    before = Ranges.sent
    assert len(again.image_bytes(0)) == Ranges.sent - before  # one picture, not a tar


def test_a_server_that_fails_now_and_then(shards, server):
    local = open_samples(shards)
    with serving(shards.parent, Flaky) as url:
        assert_same(open_samples(f"{url}/shards/{{00000..00002}}.tar", allow_remote=True), local)
        assert Flaky.failed > 5


def test_another_tar_under_the_same_url_is_indexed_anew(shards, server):
    url = f"{server}/shards/00000.tar"
    assert len(open_samples(url, allow_remote=True)) == 7
    (shards / "00000.tar").write_bytes((shards / "00002.tar").read_bytes())
    assert len(open_samples(url, allow_remote=True)) == 8


@pytest.mark.parametrize("name", ["", "/*.tar", "/{00000..00002}.tar"])
def test_tars_in_memory(shards, name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    local = open_samples(shards)
    for sidecar in shards.glob("*.npz"):
        sidecar.unlink()
    assert_same(open_samples(in_memory(shards) + name, allow_remote=True), local)


def _read_in_worker(samples, row, results):
    results.put(samples.image_bytes(row))


def test_a_forked_worker_reads_for_itself(shards, server):
    samples = open_samples(f"{server}/shards/00000.tar", allow_remote=True)
    expected = samples.image_bytes(0)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    worker = context.Process(target=_read_in_worker, args=(samples, 0, results))
    worker.start()
    assert results.get(timeout=60) == expected
    worker.join()


def test_a_table_and_its_pictures(table, server):
    text = table.read_text().replace(str(table.parent), server)
    (table.parent / "remote.csv").write_text(text)
    remote, local = open_samples(f"{server}/remote.csv", allow_remote=True), open_samples(table)
    assert list(remote.captions) == list(local.captions) and remote.image_bytes(
        5
    ) == local.image_bytes(5)


def test_what_is_not_there(server, shards):
    with pytest.raises(UserError, match="1 of 2 shards are missing") as error:
        open_samples(f"{server}/shards/{{00002..00003}}.tar", allow_remote=True)
    assert error.value.code == 3
    with pytest.raises(UserError, match="cannot be used") as error:
        open_samples("nothing://bucket/{00000..00001}.tar", allow_remote=True)
    assert error.value.code == 2
    samples = open_samples(f"{server}/shards/00000.tar", allow_remote=True)
    (shards / "00000.tar").unlink()
    with pytest.raises(OSError):
        samples.image_bytes(0)


def test_a_server_without_ranges_is_refused_at_once(shards, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with (
        serving(tmp_path, WholeFiles) as url,
        pytest.raises(UserError, match="not ranges") as error,
    ):
        open_samples(f"{url}/shards/{{00000..00002}}.tar", allow_remote=True)
    assert error.value.code == 3
    assert WholeFiles.sent <= 2 * (shards / "00000.tar").stat().st_size
    table = tmp_path / "t.csv"
    table.write_text(f"filepath,title\n{url}/shards/00000.tar/0.jpg,a\n")
    with pytest.raises(UserError, match="does not answer"):  # the server has ended
        open_samples(table, allow_remote=True)


@pytest.mark.parametrize("name", ["shards/00000.tar", "t.csv", "captions.json"])
def test_a_server_that_is_down_is_told_as_such(name):
    with pytest.raises(UserError, match="does not answer") as error:
        open_samples(f"http://127.0.0.1:9/{name}", allow_remote=True)
    assert error.value.code == 3 and "onnect" in error.value.what


def test_an_image_of_a_server_that_has_ended_is_not_called_missing(table, tmp_path):
    with serving(tmp_path, Ranges) as url:
        text = table.read_text().replace(str(table.parent), url)
        (tmp_path / "remote.csv").write_text(text)
        samples = open_samples(tmp_path / "remote.csv", allow_remote=True)
        assert read_image(samples, 0).size == (32, 32)
    with pytest.raises(UnreadableImage, match="no_answer"):
        read_image(samples, 1)
