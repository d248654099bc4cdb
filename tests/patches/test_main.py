"""The series on OpenCLIP's main: without our flags it changes nothing, and with them it trains as on the pinned version."""

from __future__ import annotations

import csv
import json
import re

import pytest
import torch

from hardpairs.patching.series import MAIN, load_series
from tests.helpers import picture
from tests.patches.runs import train
from tests.patches.test_fidelity import compare
from tests.patches.test_hooks import recorded_run

COMMA = ("--csv-separator", ",")
OURS = (*COMMA, "--warmup", "1", "--log-every-n-steps", "1", "--lr", "1e-3")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CSV of 208 pictures with texts."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = []
    for i in range(208):
        (folder / f"{i}.jpg").write_bytes(picture(i))
        rows.append((folder / f"{i}.jpg", f"picture number {i}"))
    with open(folder / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("filepath", "title"), *rows])
    return str(folder / "pairs.csv")


@pytest.mark.parametrize("flags", [(), ("--accum-freq", "2", "--precision", "amp_bf16")])
def test_without_our_flags_it_is_main(patched_main, plain_main, pairs, tmp_path, flags):
    data = ("--train-data", pairs, "--val-data", pairs)
    compare(patched_main, plain_main, tmp_path, train, 1, *data, *flags)


def test_every_hook_is_called(patched_main, table, tmp_path):
    replies = {"extra_state": {"mark": 7}, "validation_metrics": {"ours": 0.5}}
    status, output = patched_main.call(
        recorded_run, str(tmp_path / "logs"), str(tmp_path / "calls"), replies, str(table)
    )
    assert status == 0, output
    called = [json.loads(line)[0] for line in (tmp_path / "calls").read_text().splitlines()]
    imported = {
        name
        for patch in load_series(MAIN, "hooks")
        for names in re.findall(r"^\+from hardpairs\.\S+ import (.+)$", patch.text, re.MULTILINE)
        for name in names.split(", ")
    }
    assert imported == set(called)
    checkpoints = tmp_path / "logs/run/checkpoints"
    assert torch.load(checkpoints / "epoch_1.pt", weights_only=True)["mark"] == 7
    assert json.loads((checkpoints / "results.jsonl").read_text())["ours"] == 0.5
