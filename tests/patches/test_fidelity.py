"""With none of our flags the patched trainer is OpenCLIP: the same losses, logs and weights, bit for bit, over more than 50 steps."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hardpairs.patching.diff import apply_patch
from hardpairs.patching.series import VERSIONS, load_series
from tests.helpers import picture, sample, write_tar
from tests.patches.conftest import Copy, make_copy
from tests.patches.runs import train

PAIRS = 208
TIMES = re.compile(
    r"^\d{4}-\d\d-\d\d,\d\d:\d\d:\d\d|Data \(t\): \S+|Batch \(t\): \S+ \S+ \S+|-\d{4}_\d\d_\d\d\S*"
)


@pytest.fixture(scope="module")
def plain_on_cpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """OpenCLIP with nothing but the mend without which two processes on the CPU do not start."""
    for copy in make_copy(tmp_path_factory.mktemp("cpus"), "none"):
        (mend,) = [patch for patch in load_series(VERSIONS[0], "mends") if "cpu-ddp" in patch.name]
        folder = copy.source / "open_clip_train"
        for name, content in apply_patch(
            mend, {"main.py": (folder / "main.py").read_bytes()}
        ).items():
            (folder / name).write_bytes(content)
        yield copy


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pairs as a CSV and as shards, none with a fault that the series mends."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = []
    for i in range(PAIRS):
        (folder / f"{i}.jpg").write_bytes(picture(i))
        rows.append((folder / f"{i}.jpg", f"picture number {i}"))
    with open(folder / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("filepath", "title"), *rows])
    for shard in range(4):
        names = range(shard * PAIRS // 4, (shard + 1) * PAIRS // 4)
        write_tar(folder / f"{shard:05d}.tar", {f"{i:09d}": sample(i) for i in names})
    return folder


def train_shards(world_size: int, logs: str, *flags: str) -> list[tuple[int | None, str]]:
    """A run on shards under a seeded shuffle: OpenCLIP's own is seeded by process and time. webdataset's marker at the end of a shard, at
    which the unpatched trainer dies, is switched off."""
    import functools

    from open_clip_train import data

    shuffle = data.wds.shuffle
    data.wds.shuffle = lambda **sizes: shuffle(**sizes, rng=random.Random(0))
    expand = getattr(data, "tar_file_expander", None)  # the mended trainer reads tars by itself
    if expand is not None:
        data.tar_file_expander = functools.partial(expand, eof_value=None)
    try:
        return train(world_size, logs, *flags)
    finally:
        data.wds.shuffle = shuffle
        if expand is not None:
            data.tar_file_expander = expand


def compare(ours: Copy, theirs: Copy, tmp_path: Path, run, world_size: int, *flags: str) -> None:
    """The two runs' exit status, logged losses, results and checkpoints are the same."""
    common = (
        "--epochs",
        "2",
        "--warmup",
        "5",
        "--lr",
        "1e-3",
        "--log-every-n-steps",
        "1",
        "--csv-separator",
        ",",
        *flags,
    )
    for name, copy in (("ours", ours), ("theirs", theirs)):
        (tmp_path / name).mkdir()
        ranks = copy.call(run, world_size, str(tmp_path / name / "logs"), *common, timeout=400)
        assert [status for status, _ in ranks] == [0] * world_size, ranks
    logs = [steps(tmp_path / name / "logs/run/out.log") for name in ("ours", "theirs")]
    assert logs[0] == logs[1] and len(logs[0]) >= 50
    checkpoints = [
        torch.load(tmp_path / name / "logs/run/checkpoints/epoch_2.pt", weights_only=True)
        for name in ("ours", "theirs")
    ]
    assert checkpoints[0].keys() == checkpoints[1].keys()
    assert_same(checkpoints[0], checkpoints[1])
    results = [
        tmp_path / name / "logs/run/checkpoints/results.jsonl" for name in ("ours", "theirs")
    ]
    assert [path.exists() for path in results] in ([True, True], [False, False])
    if results[0].exists():
        assert [json.loads(line) for line in results[0].read_text().splitlines()] == [
            json.loads(line) for line in results[1].read_text().splitlines()
        ]


def steps(log: Path) -> list[str]:
    """The log's lines of training and evaluation, without times and speeds."""
    lines = log.read_text().splitlines()
    return [TIMES.sub("", line) for line in lines if "Train Epoch" in line or "Eval Epoch" in line]


def assert_same(ours: object, theirs: object) -> None:
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, list):
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    else:
        assert ours == theirs


def test_csv(patched, plain, pairs, tmp_path):
    compare(
        patched,
        plain,
        tmp_path,
        train,
        1,
        "--train-data",
        str(pairs / "pairs.csv"),
        "--val-data",
        str(pairs / "pairs.csv"),
    )


def test_shards(patched, plain, pairs, tmp_path):
    flags = (
        "--train-data",
        f"{pairs}/{{00000..00003}}.tar",
        "--train-num-samples",
        str(PAIRS),
        "--dataset-type",
        "webdataset",
    )
    compare(patched, plain, tmp_path, train_shards, 1, *flags)


def test_two_processes(patched, plain_on_cpus, pairs, tmp_path):
    compare(
        patched,
        plain_on_cpus,
        tmp_path,
        train,
        2,
        "--train-data",
        str(pairs / "pairs.csv"),
        "--gather-with-grad",
        "--local-loss",
    )


def test_accumulation_and_amp(patched, plain, pairs, tmp_path):
    flags = ("--accum-freq", "2", "--precision", "amp_bf16")
    compare(patched, plain, tmp_path, train, 1, "--train-data", str(pairs / "pairs.csv"), *flags)
