"""patches/0101 to 0104: each hook is called by the patched trainer, and what it gives back is used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hardpairs.patching.series import VERSIONS, load_series
from tests.helpers import picture
from tests.patches.conftest import Copy
from tests.patches.runs import train

SHORT = (
    "--dataset-type",
    "csv",
    "--csv-separator",
    ",",
    "--epochs",
    "1",
    "--log-every-n-steps",
    "1",
)


def imported_names() -> dict[str, str]:
    """What the patches import from our packages, and the patch."""
    return {
        name: patch.name
        for patch in load_series(VERSIONS[0], "hooks")
        for names in re.findall(
            r"^\+from hardpairs\.training\.[\w.]+ import (.+)$", patch.text, re.MULTILINE
        )
        for name in names.split(", ")
    }


def recorded_run(
    logs: str, record: str, replies: dict[str, object], table: str
) -> tuple[int | None, str]:
    """A run over a table, for training and for validation, in which each call of a hook is written down; ``replies`` are given back in place of what some would give."""
    from open_clip_train import main, params
    from open_clip_train import train as trainer

    def wrap(name: str, function):
        def call(*args: object, **kwargs: object) -> object:
            shown = [
                sorted(map(str, value)) if isinstance(value, dict) else type(value).__name__
                for value in args
            ]
            with open(record, "a") as file:
                file.write(json.dumps([name, shown]) + "\n")
            return replies[name] if name in replies else function(*args, **kwargs)

        return call

    kept = []
    for module in (main, trainer, params):
        for name, value in list(vars(module).items()):
            home = str(getattr(value, "__module__", ""))
            if callable(value) and home.startswith("hardpairs.training."):
                kept.append((module, name, value))
                setattr(module, name, wrap(name, value))
    try:
        return train(1, logs, *SHORT, "--train-data", table, "--val-data", table)[0]
    finally:
        for module, name, value in kept:
            setattr(module, name, value)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Sixteen pictures with texts."""
    folder = tmp_path_factory.mktemp("data")
    for i in range(16):
        (folder / f"{i}.jpg").write_bytes(picture(i))
    (folder / "table.csv").write_text(
        "filepath,title\n" + "".join(f"{folder}/{i}.jpg,picture {i}\n" for i in range(16))
    )
    return str(folder / "table.csv")


@pytest.fixture(scope="module")
def run(
    patched: Copy, table: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[tuple[str, list]]]:
    """A plain run of four steps with a mark in its checkpoint; its folder and the calls of hooks."""
    folder = tmp_path_factory.mktemp("run")
    replies = {"extra_state": {"mark": 7}, "validation_metrics": {"ours": 0.5}}
    status, output = patched.call(
        recorded_run, str(folder / "logs"), str(folder / "calls"), replies, table
    )
    assert status == 0, output
    return folder / "logs" / "run", [
        tuple(json.loads(line)) for line in (folder / "calls").read_text().splitlines()
    ]


def calls_of(run, patch: str) -> dict[str, int]:
    names = [name for name, _ in run[1]]
    return {
        name: names.count(name) for name, by in imported_names().items() if by.startswith(patch)
    }


def test_flags(run):
    assert calls_of(run, "0101") == {"add_arguments": 1, "check_arguments": 1}


def test_builders(run):
    calls = calls_of(run, "0102")
    assert calls.pop("ddp_options") == 0  # it is for several processes
    assert len(calls) == 6 and set(calls.values()) == {1}
    assert ["get_tokenizer", ["Namespace"]] in [list(call) for call in run[1]]


def test_epoch(run, patched):
    assert calls_of(run, "0103") == {"run_epochs": 1, "extra_state": 1, "resumed_checkpoint": 0}
    assert patched.call(load, str(run[0] / "checkpoints" / "epoch_1.pt"))["mark"] == 7


def test_step(run):
    assert calls_of(run, "0104") == {
        "run_steps": 1,
        "unpack_batch": 4,
        "log_step": 4,
        "validation_metrics": 1,
    }
    logged = next(shown[-1] for name, shown in run[1] if name == "log_step")
    assert {"loss", "scale", "data_time"} <= set(logged)  # plain names, and the prefix comes after
    assert json.loads((run[0] / "checkpoints/results.jsonl").read_text())["ours"] == 0.5


def load(path: str) -> dict[str, object]:
    import torch

    return {name: value for name, value in torch.load(path).items() if isinstance(value, int)}


def test_what_a_builder_gives_is_used(patched, table, tmp_path):
    status, output = patched.call(
        recorded_run,
        str(tmp_path / "logs"),
        str(tmp_path / "calls"),
        {"create_loss": "no loss"},
        table,
    )
    assert status == 1 and "'str' object is not callable" in output
