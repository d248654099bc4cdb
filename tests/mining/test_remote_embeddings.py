"""Embeddings behind URLs are mined to the bytes of the same files on disk, by one and two processes."""

from __future__ import annotations

import http.server

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from hardpairs.cli import check_ready
from hardpairs.core import chunks, ranges
from hardpairs.core.chunks import CHUNKS
from hardpairs.core.errors import UserError
from hardpairs.core.progress import Progress
from hardpairs.core.ranks import ALONE
from hardpairs.data import remote_rows
from hardpairs.data.embedding_parts import load_array
from hardpairs.data.embeddings import open_embeddings, write_embeddings
from hardpairs.mining.dataset import content_hash
from hardpairs.mining.plan import Plan
from hardpairs.mining.unit_vectors import make_unit_vectors
from tests.file_server import Flaky, Ranges, in_memory, serving
from tests.helpers import in_process, torchrun
from tests.mining.command import mine
from tests.mining.searches import themed

COUNT = 700


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(ranges, "WAITS", (0.0,) * len(ranges.WAITS))
    CHUNKS._chunks.clear()


@pytest.fixture
def folder(tmp_path):
    """Our embeddings; clip-retrieval's in two parts; two arrays; a parquet file."""
    image, text = themed(COUNT, 16).astype(np.float16), themed(COUNT, 12, 1).astype(np.float16)
    facts = {"rows": 2 * np.arange(COUNT), "keys": [f"{i}" for i in range(COUNT)]}
    write_embeddings(
        tmp_path / "ours",
        image=image,
        text=text,
        captions=[f"a caption {i // 2}" for i in range(COUNT)],
        groups=np.arange(COUNT) // 3,
        manifest={"num_samples": 2 * COUNT, "model": "m", "dataset_fingerprint": "f"},
        **facts,
    )
    (tmp_path / "arrays").mkdir()
    for kind, array in (("img_emb", image), ("text_emb", text)):
        np.save(tmp_path / f"arrays/{kind}.npy", array)
        (tmp_path / f"theirs/{kind}").mkdir(parents=True)
        for part, rows in enumerate((slice(0, 300), slice(300, None))):
            np.save(tmp_path / f"theirs/{kind}/{kind}_{part}.npy", array[rows])
    columns = {"image": image.astype(np.float32).tolist(), "text": text.astype("f4").tolist()}
    pq.write_table(pa.table(columns), tmp_path / "arrays/both.parquet")
    return tmp_path


def sources(where: object) -> dict[str, list[object]]:
    arrays = f"{where}/arrays"
    pair = ("--image-embeddings", "--text-embeddings")
    return {
        "ours": ["--embeddings", f"{where}/ours"],
        "theirs": ["--embeddings", f"{where}/theirs"],
        "arrays": [pair[0], f"{arrays}/img_emb.npy", pair[1], f"{arrays}/text_emb.npy"],
        "parquet": ["--embeddings", f"{arrays}/both.parquet"],
        "columns": [
            pair[0],
            f"{arrays}/both.parquet:image",
            pair[1],
            f"{arrays}/both.parquet:text",
        ],
        "second": ["--embeddings", f"{where}/theirs", "--rescore", f"{where}/theirs"],
    }


def output(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


FLAGS = ("--dataset", "x", "--topk", "5", "--save_path")


def assert_same(folder, url, name) -> None:
    alone = mine(*FLAGS, folder / f"{name} local", *sources(folder)[name])
    done = mine(*FLAGS, folder / f"{name} remote", *sources(url)[name], "--allow-remote")
    assert alone.returncode == done.returncode == 0, done.stderr
    found = output(folder / f"{name} remote")
    assert len(found) > 5 and found == output(folder / f"{name} local")


@pytest.mark.parametrize("name", [*sources("")])
def test_the_same_table_from_a_server_that_fails_now_and_then(folder, name):
    with serving(folder, Flaky) as url:
        assert_same(folder, url, name)
        assert Flaky.failed >= 2


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_the_same_table_from_a_file_system_of_its_own(folder, name):
    url = in_memory(folder)
    assert_same(folder, url, name)
    local, remote = (
        open_embeddings(folder / name),
        open_embeddings(f"{url}/{name}", allow_remote=True),
    )
    assert content_hash(remote) == content_hash(local) and remote.manifest == local.manifest


@pytest.mark.parametrize("held", ["shared", "ring"])
def test_two_processes_share_the_files(folder, held):
    alone = mine(*FLAGS, folder / "alone", *sources(folder)["ours"])
    assert alone.returncode == 0, alone.stderr
    with serving(folder, Ranges) as url:
        flags = ("-m", "hardpairs.cli", "mine", *FLAGS, str(folder / "two"), "--rows", held)
        done = torchrun(2, *flags, *sources(url)["ours"], "--allow-remote")
    assert done.returncode == 0, done.stderr
    assert output(folder / "two") == output(folder / "alone")


def test_files_are_read_five_times(tmp_path, monkeypatch):
    """Four passes and a sample; no chunk is requested twice in a pass, though two files are read in turn."""
    monkeypatch.setattr(chunks, "CHUNK", 1 << 15)
    monkeypatch.setattr(remote_rows, "CHUNK", 1 << 15)
    (tmp_path / "arrays").mkdir()
    for seed, kind in enumerate(("img_emb", "text_emb")):
        rows = themed(5000, 200, seed).astype(np.float16)
        np.save(tmp_path / f"arrays/{kind}.npy", rows)
    with serving(tmp_path, Ranges) as url:
        done = mine(*FLAGS, tmp_path / "out", *sources(url)["arrays"], "--allow-remote")
    assert done.returncode == 0, done.stderr
    assert 4 * 2 * rows.nbytes < Ranges.sent < 5.5 * 2 * rows.nbytes


class Listless(Ranges):
    """A server that lists no folders."""

    def list_directory(self, _):
        self.send_error(403)


def test_a_server_that_lists_no_folders(folder):
    with serving(folder, Listless) as url:
        assert_same(folder, url, "ours")
        done = mine(*FLAGS, folder / "out", *sources(url)["theirs"], "--allow-remote")
    assert done.returncode == 3 and "403" in done.stderr and f"{url}/theirs" in done.stderr


@pytest.mark.parametrize(
    ("lacking", "code", "says"),
    [
        ("img_emb_0.npy", 4, "a file named in the manifest is missing"),
        ("manifest.json", 4, "700 image rows"),
    ],
)
def test_a_folder_that_is_not_whole(folder, lacking, code, says):
    pq.write_table(pa.table({"row": [3]}), folder / "ours/metadata/metadata_1.parquet")
    with serving(folder, type("Lacking", (Ranges,), {"translate_path": lack(lacking)})) as url:
        done = mine(*FLAGS, folder / "out", *sources(url)["ours"], "--allow-remote")
    assert done.returncode == code and says in done.stderr, done.stderr


def lack(name: str):
    whole = http.server.SimpleHTTPRequestHandler.translate_path
    return lambda self, path: whole(self, "/nothing" if path.endswith(name) else path)


def test_a_flipped_bit_is_noticed_before_the_search(folder):
    path = folder / "ours/text_emb/text_emb_0.npy"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with serving(folder, Ranges) as url:
        done = mine(*FLAGS, folder / "out", *sources(url)["ours"], "--allow-remote")
    assert done.returncode == 4 and "sha256 is not the manifest's" in done.stderr
    assert "plan:" not in done.stderr and f"{url}/ours/text_emb/text_emb_0.npy" in done.stderr


def test_urls_are_read_where_they_are_allowed(folder):
    with serving(folder, Ranges) as url:
        for source in sources(url).values():
            done = mine(*FLAGS, folder / "out", *source)
            assert done.returncode == 2 and "--allow-remote" in done.stderr
        with pytest.raises(UserError, match="copy the folder to a disk") as error:
            open_embeddings(f"{url}/ours")
        assert error.value.code == 2 and Ranges.asked == 0
        done = mine(*FLAGS, folder / "out", "--embeddings", f"{url}/none", "--allow-remote")
        assert done.returncode == 3 and "no img_emb/img_emb_*.npy" in done.stderr, done.stderr
    done = mine(*FLAGS, folder / "out", *source, "--allow-remote")
    assert done.returncode == 3 and "does not answer" in done.stderr


def test_check_ready_reads_urls(table, embeddings, capsys):
    words = [table, "--batch-size", "4", "--json", "--embeddings"]
    expected = in_process(check_ready.main, *words, embeddings)
    with serving(embeddings, Ranges) as url:
        found = in_process(check_ready.main, *words, url, "--allow-remote")
        assert in_process(check_ready.main, *words, url).returncode == 2
    assert found.returncode == 0 and found.stdout == expected.stdout, found.stderr


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("resident", [0, 3000])
def test_unit_vectors_are_those_of_local_rows(precision, resident, tmp_path):
    """In memory, and in mapped files of which some rows are in memory."""
    sides = {"image": themed(9000, 200), "text": themed(9000, 120, 1)}
    order = np.random.default_rng(0).permutation(9000)[:8500]
    target = UPath("memory://remote_embeddings")
    remote = {}
    for name, rows in sides.items():
        with (target / f"{name}.npy").open("wb") as file:
            np.save(file, rows)
        remote[name] = load_array(str(target / f"{name}.npy"))
    plan = Plan(
        *(8500, 8500, 5, 84, 2048, 1024, 8500, resident > 0, 0),
        precision=precision,
        resident=resident,
    )
    found, expected = (
        make_unit_vectors(given, order, plan, Progress(tmp_path / name, {}), ALONE)
        for name, given in (("remote", remote), ("local", sides))
    )
    for name in ("unit", "multiplied"):
        for one, other in zip(getattr(found, name), getattr(expected, name), strict=True):
            assert np.array_equal(one, other)
    assert found.errors == expected.errors
