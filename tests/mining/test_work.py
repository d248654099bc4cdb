"""Restart, memory, processes: whatever happens on the way, the same bytes."""

import dataclasses
import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from formats.errors import UserError
from mining import hard_pair_mining, kernel, search, sweep
from mining.datasets import find_dataset, shards_between
from mining.filters import Filters
from mining.plan import Plan, make_plan
from mining.products import Products
from mining.search import hard_pairs
from mining.work import Work
from tests.helpers import ROOT, run, torchrun
from tests.mining.reference import reference
from tests.mining.test_search import themed


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    """A folder with embeddings of 9,000 pairs, the command to mine them, and its output without interruption."""
    folder = tmp_path_factory.mktemp("mined")
    image, text = themed(9000, 64, themes=60), themed(9000, 48, 1, themes=60)
    image[100:140] = image[60:100]
    np.save(folder / "a.npy", image)
    np.save(folder / "b.npy", text)
    files = ("--image-embeddings", str(folder / "a.npy"), "--text-embeddings", str(folder / "b.npy"))
    command = ("-m", "mining.hard_pair_mining", "--dataset", "x", "--topk", "10", "--range-min", "1", *files)
    done = run("python", *command, "--save_path", str(folder / "whole"))
    assert done.returncode == 0, done.stderr
    return folder, command, output(folder / "whole")


def output(folder):
    names = ("x_hard_sample.csv", "x_hard_sample_dict.json", "x_hard_pairs/manifest.json", "x_hard_pairs/scores.npy")
    assert not (folder / ".x.work").exists()
    return [(folder / name).read_bytes() for name in names]


def test_killed_anywhere_the_same_command_goes_on(mined):
    folder, command, expected = mined
    out = folder / "killed"
    line = [sys.executable, *command, "--save_path", str(out), "--commit-seconds", "0"]
    kills = 0
    for attempt in range(2):
        process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE)
        lists = out / ".x.work/lists0_0.npz"
        before = lists.stat().st_mtime_ns if lists.exists() else 0
        while process.poll() is None and not (lists.exists() and lists.stat().st_mtime_ns != before):
            time.sleep(0.002)
        time.sleep(random.Random(attempt).random() * 0.05)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        process.stderr.close()
    assert kills, "it was too fast to be killed"
    last = run("python", *command, "--save_path", str(out))
    assert last.returncode == 0 and "going on with the unfinished work" in last.stderr, last.stderr
    assert output(out) == expected


def test_work_of_other_options_is_discarded(mined):
    folder, command, expected = mined
    out = folder / "other"
    (out / ".x.work").mkdir(parents=True)
    (out / ".x.work/key.json").write_text(json.dumps({"options": {"topk": 99}, "embeddings": "0", "processes": 1}))
    (out / ".x.work/lists0_0.npz").write_bytes(b"torn")
    done = run("python", *command, "--save_path", str(out))
    assert done.returncode == 0 and "discarding unfinished work" in done.stderr and "embeddings, options" in done.stderr
    assert output(out) == expected


def test_two_processes_and_little_memory_give_the_same_bytes(mined):
    folder, command, expected = mined
    done = torchrun(2, *command, "--save_path", str(folder / "two"))
    assert done.returncode == 0, done.stderr
    assert output(folder / "two") == expected
    done = run("python", *command, "--save_path", str(folder / "small"), "--max-memory", "85M")
    assert done.returncode == 0 and "mapped from disk" in done.stderr, done.stderr
    assert output(folder / "small") == expected


@pytest.mark.parametrize("pool", [300, 130])
@pytest.mark.parametrize("strip", [64, 128])
def test_strips_change_nothing(monkeypatch, strip, pool):
    image, text = themed(300, 24), themed(300, 16, 1)

    def plan(*, rows, pool, depth, **_):
        return Plan(rows, pool, depth, 4 * depth + 64, 64, 64, strip, True, 0)

    expected = hard_pairs(image, text, top_k=5, approx=pool)
    monkeypatch.setattr(search, "make_plan", plan)
    indices, scores = hard_pairs(image, text, top_k=5, approx=pool)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()


@pytest.mark.parametrize("pool", [1, 5, 700, 1000])
@pytest.mark.parametrize("strip", [100, 300, 1000])
def test_tiles_cover_every_pair_once(strip, pool):
    plan = Plan(1000, pool, 5, 84, 100, 100, strip, False, 0)
    for start, stop in plan.strips():
        seen = np.zeros((1000, pool), int)
        for tile in plan.tiles(start, stop):
            seen[tile.top : tile.bottom, tile.left : tile.right] += 1
            if tile.both:
                seen[tile.left : tile.right, tile.top : tile.bottom] += 1
        assert (seen[start:stop] == 1).all() and seen.sum() == (stop - start) * pool


class Scarce(Products):
    """Products on a machine without room for blocks of more than 20 rows."""

    def resize(self, block):
        if self.limit < block < 64:
            raise MemoryError
        super().resize(block)

    def __call__(self, rows, columns):
        if self.block > self.limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return super().__call__(rows, columns)

    limit = 20


def test_short_memory_halves_the_blocks(monkeypatch, capsys):
    image, text = themed(300, 24), themed(300, 16, 1)
    expected = hard_pairs(image, text, top_k=5)
    monkeypatch.setattr(sweep, "Products", Scarce)
    monkeypatch.setattr(Scarce, "limit", 80)
    indices, scores = hard_pairs(image, text, top_k=5)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()
    assert "going on with blocks of 75 rows" in capsys.readouterr().err


def test_a_plan_keeps_within_its_memory():
    for rows in (1000, 50_000, 3_000_000):
        for allowed in (1 << 30, 8 << 30, 64 << 30):
            try:
                plan = make_plan(rows=rows, pool=rows, widths=[384, 768], depth=50, max_memory=allowed)
            except UserError as error:
                assert error.code == 5 and rows == 3_000_000 and allowed == 1 << 30
                continue
            assert plan.bytes <= allowed and plan.capacity >= 2 * plan.depth and plan.strip <= rows


def test_lists_survive_being_packed(tmp_path):
    lists = sweep.empty_lists(4, 6, 0.0)
    lists.count[:] = (0, 3, 6, 1)
    for name in ("column", "high", "low", "reason"):
        getattr(lists, name)[:] = np.arange(24).reshape(4, 6)
    work = Work(tmp_path / "w", lambda: {"a": 1})
    work.save("lists", **sweep.packed(lists))
    stored = work.load("lists")
    again = sweep.unpacked(stored, 6)
    for row in range(4):
        assert again.column[row, : lists.count[row]].tolist() == lists.column[row, : lists.count[row]].tolist()
    part = sweep.part_of(stored, 1, 3)
    assert part["count"].tolist() == [3, 6] and part["column"].tolist() == [6, 7, 8, *range(12, 18)]
    twice = sweep.merged([stored, stored], 0)
    assert twice.count.tolist() == [0, 6, 12, 2] and twice.column[1, :6].tolist() == [6, 7, 8, 6, 7, 8]


def near_ties(kind: str):
    rng = np.random.default_rng(0)
    base, text = rng.normal(size=32).astype(np.float32), themed(500, 16, 3, themes=3)
    if kind == "below bfloat16":
        return base + 1e-4 * rng.normal(size=(500, 32)).astype(np.float32), text
    if kind == "below float32":
        return base + 1e-7 * rng.normal(size=(500, 32)).astype(np.float32), np.tile(text[:5], (100, 1))
    return np.tile(rng.normal(size=(4, 32)).astype(np.float32), (125, 1)), np.tile(text[:2], (250, 1))


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("kind", ["below bfloat16", "below float32", "exact"])
def test_near_ties_are_decided_exactly(kind, precision):
    image, text = near_ties(kind)
    filters = Filters(duplicate_threshold=2.0)
    found = search.search(image, text, top_k=4, filters=filters, precision=precision)
    expected = reference(image, text, 4, filters)
    assert (found.indices == expected[0]).all() and (found.scores == expected[1]).all()


@pytest.mark.parametrize("kind", ["themed", "isotropic"])
def test_every_row_of_a_larger_set(kind):
    rng = np.random.default_rng(0)
    image, text = (themed(900, 32), themed(900, 24, 1)) if kind == "themed" else (rng.normal(size=(900, 32)), rng.normal(size=(900, 24)))
    found = search.search(image, text, top_k=20, filters=Filters())
    expected = reference(image, text, 20, Filters())
    assert (found.indices == expected[0]).all() and (found.scores == expected[1]).all()
    assert found.removed == expected[3]


def test_constants_of_the_plan_are_those_of_the_lists():
    from mining import plan

    lists = sweep.empty_lists(3, 7, 0.0)
    entry = sum(getattr(lists, name).itemsize for name in ("column", "high", "low", "reason"))
    assert entry == plan.ENTRY_BYTES and sum(a.itemsize for a in (lists.count, lists.threshold, lists.spilled)) == plan.ROW_BYTES
    assert kernel.CHUNK > 0


def test_helips_command_line(mined, tmp_path, monkeypatch):
    folder, _, _ = mined
    embeddings = tmp_path / "data/cc3m/embeddings"
    for kind, name in (("img_emb", "a"), ("text_emb", "b")):
        (embeddings / kind).mkdir(parents=True)
        np.save(embeddings / kind / f"{kind}_0.npy", np.load(folder / f"{name}.npy")[:200])
    helip = ("python", "-m", "mining.hard_pair_mining", "--dataset", "cc3m", "--save_path", str(tmp_path / "out"), "--topk", "5")
    known = {"HARDPAIRS_DATA": str(tmp_path / "data")}
    done = run(*helip, "--mining_method", "image", "--approx", "100", env=known)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out/cc3m_hard_sample.csv").read_text().splitlines()) == 200
    monkeypatch.setenv("HARDPAIRS_DATA", known["HARDPAIRS_DATA"])
    with pytest.raises(UserError, match="--model M --pretrained P") as error:
        hard_pair_mining.main([*helip[3:], "--start_tar", "0", "--end_tar", "3"])
    assert error.value.code in (2, 3)


def test_names_of_datasets(shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARDPAIRS_DATA", raising=False)
    (tmp_path / "datasets.yaml").write_text(f"toy: {{shards: {shards}}}\n")
    dataset = find_dataset("toy")
    assert [path[-9:] for path in shards_between(dataset.shards, 1, 2)] == ["00001.tar", "00002.tar"]  # both ends, as HELIP counts
    assert len(shards_between(dataset.shards, None, None)) == 3
    for wrong, code in ((lambda: find_dataset("other"), 2), (lambda: shards_between(dataset.shards, 7, 9), 2)):
        with pytest.raises(UserError) as error:
            wrong()
        assert error.value.code == code
    (tmp_path / "datasets.yaml").write_text("toy: [1, 2]\n")
    with pytest.raises(UserError, match="each entry must be"):
        find_dataset("toy")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--embeddings", "E", "--model", "M"), "give either"),
        (("--image-embeddings", "A"), "give either"),
        (("--embeddings", "E", "--end_tar", "3"), "choose shards to embed"),
    ],
)
def test_sources_that_contradict_each_other(flags, says):
    with pytest.raises(UserError, match=says) as error:
        hard_pair_mining.parse_args(["--dataset", "x", "--save_path", "o", *flags])
    assert error.value.code == 2


def test_options_of_mining_stay_few():
    """A new flag is a decision: this list is changed with it."""
    names = {field.name for field in dataclasses.fields(hard_pair_mining.Options)}
    assert names == {
        *("topk", "mining_method", "noise_rule", "approx", "seed", "drop_nonfinite", "duplicate_threshold", "similarity_floor"),
        *("max_score", "min_score", "max_image_score", "min_image_score", "max_text_score", "min_text_score"),
        *("absolute_margin", "relative_margin", "range_min", "range_max", "image_weight"),
    }
