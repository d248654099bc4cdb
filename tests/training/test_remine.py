"""Hard pairs mined anew between epochs: those that the commands give for the checkpoint, on one process and two, and after a restart."""

import shutil

import numpy as np
import pytest
import torch

from hardpairs.data.embeddings import open_embeddings
from hardpairs.data.hard_pairs import HardPairTable, table_folder, write_helip, write_table
from hardpairs.data.opening import open_samples
from tests.helpers import ragged_table, run
from tests.training.test_trainer import COMMA, SAME_PIXELS, checkpoint, steps, train

FLAGS = (*COMMA, "--epochs", "3", "--remine-every", "1", "--save-most-recent", "--lr", "1e-3")
NO_DUPLICATES = 1.5
"""Threshold that nothing exceeds: to a model that has hardly been trained all captions are alike."""


@pytest.fixture(name="checkpoint_path")
def start_model(request):
    return request.getfixturevalue("checkpoint")


@pytest.fixture
def hard_pairs(table, tmp_path):
    """Random hard pairs, with the option that the next ones are mined by."""
    indices, scores = ragged_table(40, 6, fullest=True)
    manifest = {
        "dataset_fingerprint": open_samples(table).fingerprint,
        "options": {"duplicate_threshold": NO_DUPLICATES},
    }
    write_helip(
        tmp_path, "pairs", write_table(table_folder(tmp_path, "pairs"), indices, scores, manifest)
    )
    return tmp_path / "pairs_hard_sample.csv"


def trained(table, hard_pairs, logs, processes, *more):
    batch_size = ("--batch-size", str(16 // max(processes, 1)))
    data = (
        "--train-data",
        str(table),
        "--use-hard",
        "--hard-dict-dir",
        str(hard_pairs),
        "--hard-topk",
        "3",
    )
    return train(logs, "run", *data, *FLAGS, *batch_size, *more, processes=processes)


@pytest.mark.parametrize("processes", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_the_table_is_that_of_the_checkpoint_and_is_trained_on(
    table, hard_pairs, tmp_path, processes
):
    done = trained(table, hard_pairs, tmp_path, processes)
    assert done.returncode == 0, done.stderr
    remined = {
        epoch: HardPairTable.open(tmp_path / f"run/remined/epoch_{epoch}", verify=True)
        for epoch in (1, 2)
    }
    assert sorted(path.name for path in (tmp_path / "run/remined").iterdir()) == [
        "epoch_1",
        "epoch_2",
    ]
    shas = [
        checkpoint(tmp_path, "run", epoch)["hardpairs"]["hard_pairs_sha256"] for epoch in (1, 2, 3)
    ]
    start = HardPairTable.open(tmp_path / "pairs_hard_pairs")
    assert shas == [
        start.manifest["sha256"],
        remined[1].manifest["sha256"],
        remined[2].manifest["sha256"],
    ]

    saved = str(tmp_path / "run/checkpoints/epoch_2.pt")
    embedded = (
        "--csv",
        str(table),
        "--model",
        "hardpairs-test",
        "--pretrained",
        saved,
        "--out",
        str(tmp_path / "emb"),
    )
    assert run("python", "-m", "mining.embed", *embedded).returncode == 0
    mined = (
        "--dataset",
        "again",
        "--save_path",
        str(tmp_path),
        "--topk",
        "6",
        "--embeddings",
        str(tmp_path / "emb"),
    )
    assert (
        run(
            "python",
            "-m",
            "mining.hard_pair_mining",
            *mined,
            "--duplicate-threshold",
            str(NO_DUPLICATES),
        ).returncode
        == 0
    )
    expected = HardPairTable.open(tmp_path / "again_hard_pairs")
    np.testing.assert_allclose(
        remined[2].scores, expected.scores, atol=1e-4
    )  # float32 features of other batches
    assert (expected.lengths > 0).all() and (remined[2].indices == expected.indices).mean() > 0.9
    assert (remined[2].indices == start.indices).mean() < 0.5


def test_a_restarted_run_goes_on_with_the_table_of_its_epoch(table, hard_pairs, tmp_path):
    assert trained(table, hard_pairs, tmp_path, 0).returncode == 0
    second = HardPairTable.open(tmp_path / "run/remined/epoch_2").manifest["sha256"]
    for name in ("epoch_3.pt", "epoch_latest.pt"):
        (tmp_path / "run/checkpoints" / name).unlink()
    again = trained(table, hard_pairs, tmp_path, 0, "--resume", "latest")
    assert again.returncode == 0, again.stderr
    assert checkpoint(tmp_path, "run", 3)["hardpairs"]["hard_pairs_sha256"] == second
    for name in ("epoch_3.pt", "epoch_latest.pt"):
        (tmp_path / "run/checkpoints" / name).unlink()
    shutil.rmtree(tmp_path / "run/remined/epoch_2")
    again = trained(
        table, hard_pairs, tmp_path, 0, "--resume", "latest"
    )  # the table is made by the checkpoint that the run goes on with
    assert again.returncode == 0, again.stderr
    assert (
        HardPairTable.open(tmp_path / "run/remined/epoch_2", verify=True).manifest["sha256"]
        == second
    )


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--batching", "random", "--remine-every", "1"), "nothing uses it"),
        (("--use-hard", "--remine-every", "0"), "at least 1"),
        (("--use-hard", "--remine-every", "2", "--epochs", "2"), "--remine-every 2 has no effect"),
        (("--use-hard", "--remine-every", "1", "--empty-rows", "skip"), "must not change"),
    ],
)
def test_what_makes_no_sense_is_refused(table, hard_pairs, tmp_path, flags, says):
    more = ("--hard-dict-dir", str(hard_pairs)) if "--use-hard" in flags else ()
    done = train(
        tmp_path, "run", "--train-data", str(table), *COMMA, "--batch-size", "8", *flags, *more
    )
    assert done.returncode == 2 and says in done.stderr


@pytest.mark.parametrize("processes", [0, 2])
def test_topical_batches_of_a_run_that_embeds_itself(table, checkpoint_path, tmp_path, processes):
    """They are those of a run that is given what the first one made."""
    flags = ("--train-data", str(table), *COMMA, *SAME_PIXELS, "--epochs", "1")
    flags += ("--pretrained", str(checkpoint_path), "--batch-size", str(8 // max(processes, 1)))
    topical = (*flags, "--batching", "topical", "--topical-clusters", "5", "--p-topical", "1")
    stored = ("--batching-embeddings", str(tmp_path / "itself/remined/epoch_0"))
    runs = {"itself": topical, "given": (*topical, *stored), "random": (*flags, "--seed", "0")}
    losses = {}
    for name, line in runs.items():
        more = () if name != "random" else ("--batching", "random")
        done = train(tmp_path, name, *line, *more, processes=processes)
        assert done.returncode == 0, done.stderr
        losses[name] = [float(row["loss"]) for row in steps(tmp_path, name)]
    assert len(losses["itself"]) == 5
    assert losses["itself"] == pytest.approx(losses["given"], rel=1e-4)
    assert losses["itself"] != pytest.approx(losses["random"], rel=1e-3)


def with_all_rows(table, start, logs, processes, *more):
    """A run of three epochs, before the first and the third of which all rows are embedded."""
    data = ("--train-data", str(table), *COMMA, *SAME_PIXELS, "--epochs", "3", "--freeze-bn-stats")
    data += ("--pretrained", str(start), "--opt", "timm/sgd", "--momentum", ".5", "--wd", "0")
    data += ("--lr", ".1")
    memory = ("--batching", "random", "--memory-every", "2", "--log-every-n-steps", "1")
    batch_size = ("--batch-size", str(16 // max(processes, 1)))
    done = train(logs, "run", *data, *memory, *batch_size, *more, processes=processes)
    assert done.returncode == 0, done.stderr
    return checkpoint(logs, "run", 3)["state_dict"]


def test_all_rows_are_negatives_on_one_process_and_two_and_after_a_restart(
    table, checkpoint_path, tmp_path
):
    whole = with_all_rows(table, checkpoint_path, tmp_path / "one", 0)
    made = tmp_path / "one/run/memory"
    assert sorted(path.name for path in made.iterdir()) == ["epoch_0", "epoch_2"]
    rows = len(open_embeddings(made / "epoch_2").rows)
    logged = steps(tmp_path / "one", "run")
    assert rows > 30 and {float(step["memory_rows"]) for step in logged} == {float(rows)}

    two = with_all_rows(table, checkpoint_path, tmp_path / "two", 2)
    for name, weight in whole.items():
        torch.testing.assert_close(two["module." + name], weight, rtol=1e-4, atol=1e-5)

    before = (made / "epoch_0/manifest.json").stat().st_mtime_ns
    for epoch in (2, 3):
        (tmp_path / f"one/run/checkpoints/epoch_{epoch}.pt").unlink()
    again = with_all_rows(table, checkpoint_path, tmp_path / "one", 0, "--resume", "latest")
    assert (made / "epoch_0/manifest.json").stat().st_mtime_ns == before
    for name, weight in whole.items():
        torch.testing.assert_close(again[name], weight)
