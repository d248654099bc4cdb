"""Our flags together with OpenCLIP's: each pair in the table of docs/upstream.md works, or is refused before a model is built."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from tests.patches.conftest import Copy
from tests.patches.runs import train

OURS = (
    "--batch-size",
    "8",
    "--loss-fn",
    "sanw_debias",
    "--sanw-delta",
    "0",
    "--margin-weight",
    "0.3",
    "--warmup",
    "1",
    "--log-every-n-steps",
    "1",
)


@pytest.fixture
def start(patched: Copy, table: Path, hard_pairs: Path, tmp_path: Path):
    """Trains with our flags and others; returns the status, what was printed, and the run folder."""

    def start(*flags: str, steps: int = 2, timeout: float = 300) -> tuple[int | None, str, Path]:
        folder = tmp_path / f"run-{steps}"
        folder.mkdir()
        data = (
            "--train-data",
            str(table),
            "--csv-separator",
            ",",
            "--use-hard",
            "--hard-dict-dir",
            str(hard_pairs),
        )
        ((status, output),) = patched.call(
            train,
            1,
            str(folder / "logs"),
            *data,
            *OURS,
            "--max-steps",
            str(steps),
            *flags,
            timeout=timeout,
        )
        return status, output, folder / "logs" / "run"

    return start


def step_log(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv") as file:
        return list(csv.DictReader(file))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints/epoch_1.pt", weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    "flags",
    [
        ("--accum-freq", "2"),
        ("--grad-checkpointing",),
        ("--precision", "amp_bf16"),
        ("--precision", "pure_bf16"),
        ("--grad-clip-norm", "1.0"),
        ("--local-loss", "--gather-with-grad"),
        ("--force-image-size", "24"),
        ("--lr-scheduler", "const"),
        ("--siglip",),
        ("--geometry-weight", "0.1", "--loss-block-rows", "3", "--sanw-exempt-partners"),
        pytest.param(("--torchcompile",), marks=pytest.mark.slow),
    ],
    ids=lambda flags: flags[0].lstrip("-"),
)
def test_works(start, flags):
    status, output, run = start(*flags, timeout=600 if "--torchcompile" in flags else 300)
    assert status == 0, output
    rows = step_log(run)
    accumulated = 2 if "--accum-freq" in flags else 1
    assert [int(row["targets"]) + int(row["mined"]) + int(row["random"]) for row in rows] == [
        8 * accumulated,
        16 * accumulated,
    ]
    assert all(float(row["contrastive_loss"]) > 0 and 0 < float(row["w_mean"]) < 1 for row in rows)


@pytest.mark.parametrize(
    ("flags", "locked"),
    [
        (("--lock-image",), "visual."),
        (("--lock-text", "--lock-text-freeze-layer-norm"), "transformer."),
    ],
)
def test_a_locked_tower_stays(start, flags, locked):
    one, other = (start(*flags, steps=steps) for steps in (1, 3))
    assert (one[0], other[0]) == (0, 0), one[1] + other[1]
    before, after = weights(one[2]), weights(other[2])
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and not any(name.startswith(locked) for name in moved)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--model", "coca_ViT-B-32"), "CoCa"),
        (("--distill-model", "RN50", "--distill-pretrained", "openai"), "--distill-model"),
        (("--dataset-resampled",), "--dataset-resampled"),
        (("--train-data-upsampling-factors", "1::2"), "--train-data-upsampling-factors"),
        (("--horovod",), "--horovod"),
        (("--use-bnb-linear", "SwitchBackLinearGlobal"), "bitsandbytes"),
    ],
    ids=lambda value: value[0].lstrip("-") if isinstance(value, tuple) else "",
)
def test_refused_before_a_model_is_built(start, flags, says):
    status, output, run = start(*flags)
    assert status not in (0, None) and says in output, output
    assert not (run / "out.log").exists()  # written before a model is
