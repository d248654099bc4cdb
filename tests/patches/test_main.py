"""The series on OpenCLIP's main: without our flags it changes nothing, and with them it trains as on the pinned version."""

from __future__ import annotations

import csv
import itertools
import json
import re
from pathlib import Path

import pytest
import torch

from hardpairs.core.errors import Exit
from hardpairs.data.hard_pairs import table_folder, write_helip, write_table
from hardpairs.data.opening import open_samples
from hardpairs.patching.series import MAIN, load_series
from tests.helpers import picture, ragged_table, sample, write_tar
from tests.patches.conftest import Copy
from tests.patches.runs import train
from tests.patches.test_fidelity import compare, train_shards
from tests.patches.test_hooks import recorded_run
from tests.training.hooks.test_steps import assert_same

COMMA = ("--csv-separator", ",")
SAME_PIXELS = ("--aug-cfg", "scale=(1.0,1.0)")
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


def test_without_our_flags_it_is_main_on_shards(patched_main, plain_main, tmp_path):
    for shard in range(4):
        names = range(shard * 52, shard * 52 + 52)
        write_tar(tmp_path / f"{shard:05d}.tar", {f"{i:09d}": sample(i) for i in names})
    data = ("--train-data", f"{tmp_path}/{{00000..00003}}.tar", "--train-num-samples", "208")
    flags = (*data, "--dataset-type", "webdataset")
    compare(patched_main, plain_main, tmp_path, train_shards, 1, *flags)


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


@pytest.fixture(scope="module")
def start(patched: Copy, pairs: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights after two steps of the pinned version."""
    logs = tmp_path_factory.mktemp("start")
    (logs / "run").mkdir()
    flags = (*OURS, "--train-data", pairs, "--batching", "random", "--max-steps", "2")
    ((status, output),) = patched.call(train, 1, str(logs / "logs"), *flags)
    assert status == 0, output
    return str(logs / "logs/run/checkpoints/epoch_1.pt")


def labelled(pairs: str, folder: Path) -> str:
    """The pairs with ten labels."""
    lines = Path(pairs).read_text().splitlines()
    rows = [f"{line},{i % 10}" for i, line in enumerate(lines[1:])]
    (folder / "labelled.csv").write_text("\n".join([lines[0] + ",label", *rows]) + "\n")
    return str(folder / "labelled.csv")


def hard_pairs_of(pairs: str, folder: Path) -> str:
    """Six hard pairs for each row."""
    indices, scores = ragged_table(208, 6, fullest=True)
    manifest = {"dataset_fingerprint": open_samples(pairs).fingerprint}
    table = write_table(table_folder(folder, "pairs"), indices, scores, manifest)
    write_helip(folder, "pairs", table)
    return str(folder / "pairs_hard_sample.csv")


def step_log(logs: Path) -> list[dict[str, str]]:
    with open(logs / "run/metrics.csv") as file:
        return list(csv.DictReader(file))


def weights(logs: Path, epoch: int = 1) -> dict[str, torch.Tensor]:
    path = logs / f"run/checkpoints/epoch_{epoch}.pt"
    return torch.load(path, weights_only=True)["state_dict"]


LOSSES = {
    "weights and margin": (
        "--loss-fn",
        "sanw_debias",
        "--sanw-delta",
        "0",
        "--margin-weight",
        "0.3",
    ),
    "memory": ("--memory-batches", "2"),
    "metric": ("--loss-fn", "supcon", "--embed", "pooled", "--m-per-class", "2"),
    "sigmoid": ("--siglip",),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_it_trains_as_the_pinned_version_on_one_process_and_two(
    patched, patched_main, pairs, start, tmp_path, loss
):
    data = ("--csv-group-key", "label", "--train-data", labelled(pairs, tmp_path))
    if loss != "metric":
        hard = hard_pairs_of(pairs, tmp_path)
        data = ("--train-data", pairs, "--use-hard", "--hard-dict-dir", hard)
    flags = (*OURS, *data, *LOSSES[loss], "--pretrained", start, "--max-steps", "3")
    flags += ("--opt", "timm/sgd", "--momentum", "0.5", "--lr", "0.1", "--wd", "0")
    flags += SAME_PIXELS
    runs = (("pinned", patched, 1), ("one", patched_main, 1), ("two", patched_main, 2))
    for name, copy, processes in runs:
        (tmp_path / name).mkdir()
        sizes = ("--batch-size", str(16 // processes))
        ranks = copy.call(train, processes, str(tmp_path / name / "logs"), *flags, *sizes)
        assert [status for status, _ in ranks] == [0] * processes, ranks
    losses = {
        name: [float(row["loss"]) for row in step_log(tmp_path / name / "logs")]
        for name, *_ in runs
    }
    # Main's attention is made of other operations, whose rounding differs.
    assert len(losses["one"]) == 3 and losses["one"][0] == pytest.approx(
        losses["pinned"][0], rel=1e-6
    )
    assert losses["one"] == pytest.approx(losses["pinned"], rel=1e-5)
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-4)
    one, two = (weights(tmp_path / name / "logs") for name in ("one", "two"))
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)


def test_a_resumed_run_ends_as_one_that_was_not_stopped(patched_main, pairs, tmp_path):
    hard = hard_pairs_of(pairs, tmp_path)
    flags = (*OURS, "--train-data", pairs, "--use-hard", "--hard-dict-dir", hard)
    flags += ("--val-data", pairs, "--save-best", "image_to_text_R@1", "--batch-size", "52")
    flags += ("--memory-batches", "1", "--epochs", "2", "--lr-scheduler", "const", *SAME_PIXELS)
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
        ((status, output),) = patched_main.call(train, 1, str(tmp_path / name / "logs"), *flags)
        assert status == 0, output
    logs = tmp_path / "resumed/logs"
    (logs / "run/checkpoints/epoch_2.pt").unlink()
    ((status, output),) = patched_main.call(train, 1, str(logs), *flags, "--resume", "latest")
    assert status == 0 and "epoch_1.pt" in output, output
    torch.testing.assert_close(
        weights(logs, 2), weights(tmp_path / "whole/logs", 2), rtol=0, atol=0
    )
    results = (logs / "run/checkpoints/results.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in results] == [1, 2, 2]
    assert (logs / "run/checkpoints/best.pt").is_file()


def test_a_run_that_was_stopped_within_an_epoch_goes_on(patched_main, pairs, tmp_path):
    hard = hard_pairs_of(pairs, tmp_path)
    flags = (*OURS, "--train-data", pairs, "--use-hard", "--hard-dict-dir", hard)
    flags += ("--batch-size", "52", "--memory-batches", "1", "--epochs", "2")
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    ((status, output),) = patched_main.call(train, 1, str(tmp_path / "whole/logs"), *flags)
    assert status == 0, output
    logs = tmp_path / "stopped/logs"
    ((status, output),) = patched_main.call(stopped_run, 12, str(logs), *flags)
    assert status == Exit.PREEMPTED, output
    stored = torch.load(logs / "run/checkpoints/epoch_latest.pt", weights_only=True)
    assert stored["epoch"] == 1 and stored["step"] == 3
    ((status, output),) = patched_main.call(train, 1, str(logs), *flags, "--resume", "latest")
    assert status == 0, output
    last = "run/checkpoints/epoch_2.pt"
    assert_same(*(torch.load(p / last, weights_only=True) for p in (tmp_path / "whole/logs", logs)))


def stopped_run(calls: int, logs: str, *flags: str) -> list[tuple[int | None, str]]:
    """A run that is asked to stop at the so manieth question between its steps."""
    from hardpairs.training.hooks import steps

    kept, numbers = steps.agreed_to_stop, itertools.count(1)
    steps.agreed_to_stop = lambda args: next(numbers) == calls
    try:
        return train(1, logs, *flags, as_command=True)
    finally:
        steps.agreed_to_stop = kept


def test_hard_pairs_are_mined_anew(patched_main, pairs, tmp_path):
    hard = hard_pairs_of(pairs, tmp_path)
    flags = (*OURS, "--train-data", pairs, "--use-hard", "--hard-dict-dir", hard)
    flags += ("--epochs", "2", "--remine-every", "1", "--batch-size", "52")
    ranks = patched_main.call(train, 2, str(tmp_path / "logs"), *flags)
    assert [status for status, _ in ranks] == [0, 0], ranks
    assert (tmp_path / "logs/run/remined/epoch_1/manifest.json").is_file()
    stored = torch.load(tmp_path / "logs/run/checkpoints/epoch_2.pt", weights_only=True)
    manifest = json.loads((tmp_path / "logs/run/remined/epoch_1/manifest.json").read_text())
    assert stored["hardpairs"]["hard_pairs_sha256"] == manifest["sha256"]


@pytest.mark.parametrize("loss", ["weights and margin", "memory", "sigmoid"])
def test_the_first_loss_is_that_of_the_pinned_version(patched, patched_main, pairs, tmp_path, loss):
    """Bit for bit, with towers of ours: main computes the attention of OpenCLIP's by other operations."""
    flags = (*OURS, "--train-data", pairs, "--model", "miniclip-test", "--batch-size", "16")
    hard = ("--use-hard", "--hard-dict-dir", hard_pairs_of(pairs, tmp_path), *LOSSES[loss])
    start = ("--batching", "random", "--max-steps", "2", *LOSSES[loss][: loss == "sigmoid"])
    weights = str(tmp_path / "start/logs/run/checkpoints/epoch_1.pt")
    more = (*hard, "--max-steps", "1", "--pretrained", weights)
    runs = (("start", patched, start), ("pinned", patched, more), ("main", patched_main, more))
    for name, copy, own in runs:
        (tmp_path / name).mkdir()
        ((status, output),) = copy.call(train, 1, str(tmp_path / name / "logs"), *flags, *own)
        assert status == 0, output
    (pinned,), (main,) = (step_log(tmp_path / name / "logs") for name in ("pinned", "main"))
    parts = [part for part in pinned if part.endswith("loss") and pinned[part]]
    assert parts and [main[part] for part in parts] == [pinned[part] for part in parts]


@pytest.mark.parametrize(
    "flags",
    [
        ("--accum-freq", "2"),
        ("--freeze-backbone", "--freeze-epochs", "1"),
        ("--ema", "0.9", "--val-data", "DATA", "--watch", "DATA", "--save-best", "ari"),
    ],
    ids=lambda flags: flags[0],
)
def test_other_ways_of_training(patched_main, pairs, tmp_path, flags):
    table = labelled(pairs, tmp_path)
    flags = [table if flag == "DATA" else flag for flag in flags]
    data = ("--train-data", table, "--csv-group-key", "label")
    more = ("--loss-fn", "supcon", "--embed", "mlp", "--m-per-class", "13")
    more += ("--epochs", "2", "--batch-size", "26")
    ranks = patched_main.call(train, 2, str(tmp_path / "logs"), *OURS, *data, *more, *flags)
    assert [status for status, _ in ranks] == [0, 0], ranks
    assert all(float(row["metric_loss"]) > 0 for row in step_log(tmp_path / "logs"))


def test_fsdp(patched_main, pairs, start, tmp_path):
    """Sharded weights make the losses of whole ones, also in a run that goes on."""
    hard = hard_pairs_of(pairs, tmp_path)
    flags = (*OURS, "--train-data", pairs, "--use-hard", "--hard-dict-dir", hard)
    flags += ("--pretrained", start, "--batch-size", "26", "--epochs", "2", "--val-data", pairs)
    for name, more in (("whole", ()), ("sharded", ("--fsdp",))):
        (tmp_path / name).mkdir()
        ranks = patched_main.call(train, 2, str(tmp_path / name / "logs"), *flags, *more)
        assert [status for status, _ in ranks] == [0, 0], ranks
    whole, sharded = (
        [float(row["loss"]) for row in step_log(tmp_path / name / "logs")]
        for name in ("whole", "sharded")
    )
    assert sharded == pytest.approx(whole, rel=1e-4)
    (tmp_path / "sharded/logs/run/checkpoints/epoch_2.pt").unlink()
    logs, latest = str(tmp_path / "sharded/logs"), ("--resume", "latest")
    ranks = patched_main.call(train, 2, logs, *flags, "--fsdp", *latest)
    assert [status for status, _ in ranks] == [0, 0], ranks


@pytest.mark.parametrize("strategy", ["model", "task", "step"])
def test_torch_compile_leaves_our_loss_out(patched_main, pairs, start, tmp_path, strategy):
    hard = hard_pairs_of(pairs, tmp_path)
    flags = (*OURS, "--train-data", pairs, "--use-hard", "--hard-dict-dir", hard)
    flags += (*LOSSES["weights and margin"], "--pretrained", start, "--max-steps", "3")
    compiled = ("--torchcompile", "--torchcompile-backend", "eager")
    losses = []
    for name, more in (
        ("eager", ()),
        ("compiled", (*compiled, "--torchcompile-strategy", strategy)),
    ):
        (tmp_path / name).mkdir()
        ((status, output),) = patched_main.call(
            train, 1, str(tmp_path / name / "logs"), *flags, *more
        )
        assert status == 0, output
        losses.append([float(row["loss"]) for row in step_log(tmp_path / name / "logs")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (("--use-naflex",), Exit.USAGE, "--use-naflex"),
        (("--fsdp", "--remine-every", "1", "--epochs", "2"), Exit.USAGE, "--remine-every"),
        (("--horovod",), Exit.USAGE, "--horovod"),
        (("--train-data", "missing.csv"), Exit.USAGE, "missing.csv"),
        (("--lr", "1e30", "--max-steps", "4"), Exit.NON_FINITE, "not finite"),
    ],
)
def test_exit_codes(patched_main, pairs, tmp_path, flags, code, says):
    hard = hard_pairs_of(pairs, tmp_path)
    ours = (*OURS, "--train-data", pairs, "--use-hard", "--hard-dict-dir", hard)
    ((status, output),) = patched_main.call(as_command, str(tmp_path / "logs"), *ours, *flags)
    assert (status, "Traceback" in output) == (code, False) and says in output, output


def as_command(logs: str, *flags: str) -> list[tuple[int | None, str]]:
    return train(1, logs, *flags, as_command=True)
