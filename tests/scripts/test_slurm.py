"""The SLURM scripts as jobs of a real cluster: two nodes, submitted from another folder."""

from __future__ import annotations

import csv
import json
import os

import pytest

from tests.helpers import ROOT
from tests.scripts.cluster import running, wait_for, why_not

EPOCHS, LAST_STEP = 60, 239
PATIENCE = 900
"""Seconds for what has no limit of its own: a slow machine is no fault."""
REASON = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=REASON)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running(tmp_path_factory.mktemp("slurm")) as cluster:
        paths = [str(ROOT / "src"), str(ROOT)]
        cluster.environment |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        yield cluster


def training(table, start, *flags):
    return (
        *("--train-data", str(table), "--csv-separator", ",", "--batching", "random"),
        *("--model", "hardpairs-test", "--pretrained", str(start), "--device", "cpu"),
        *("--workers", "0", "--epochs", "1", "--log-every-n-steps", "1"),
        *("--logs", "logs", "--name", "run", *flags),
    )


def last_step(folder):
    with open(folder / "logs/run/metrics.csv", newline="") as file:
        return list(csv.DictReader(file))[-1]


def test_two_nodes_train_together(cluster, table, checkpoint, tmp_path):
    script = str(ROOT / "scripts/train.sbatch")
    flags = training(table, checkpoint, "--batch-size", "5")
    code, text = cluster.run("--nodes=2", script, *flags, cwd=tmp_path)
    assert code == 0, text
    step = last_step(tmp_path)
    assert (step["step"], step["targets"]) == ("3", "40")  # of 2 x 5 rows a step
    assert "total 2." in text
    assert not list(tmp_path.glob(".*.status"))


def test_bad_input_on_two_nodes_has_its_code(cluster, tmp_path):
    script = str(ROOT / "scripts/train.sbatch")
    code, text = cluster.run("--nodes=2", script, "--nothing", cwd=tmp_path)
    assert code == 2 and "there is no flag --nothing" in text and "Traceback" not in text


@pytest.fixture
def long_job(cluster, table, checkpoint, tmp_path):
    """A job of two nodes that has trained an epoch of many."""
    script, flags = str(ROOT / "scripts/train.sbatch"), training(table, checkpoint)
    flags += ("--batch-size", "5", "--epochs", str(EPOCHS))
    job = cluster.submit("--nodes=2", script, *flags, cwd=tmp_path)
    first = tmp_path / "logs/run/checkpoints/epoch_1.pt"
    wait_for(first.exists, "the first epoch", PATIENCE)
    return job


@pytest.mark.parametrize("how", [("--signal=USR1",), ("--signal=TERM",), ("--signal=USR1", "-b")])
def test_a_preempted_job_goes_on(cluster, long_job, how, tmp_path):
    """Signals to all tasks, as before the end of the time, and to the script alone."""
    cluster.call("scancel", *how, long_job)
    wait_for(lambda: cluster.show(long_job).get("Restarts") == "1", "the queue", PATIENCE)
    stopped = int(last_step(tmp_path)["step"])
    assert stopped < LAST_STEP
    code, text = cluster.finish(long_job, tmp_path, PATIENCE)
    assert code == 0 and "preempted: the job goes back into the queue" in text, text
    assert int(last_step(tmp_path)["step"]) == LAST_STEP
    assert "Found latest resume checkpoint" in text and "Traceback" not in text


def test_a_cancelled_job_stays_cancelled(cluster, long_job, tmp_path):
    cluster.call("scancel", long_job)
    _, text = cluster.finish(long_job, tmp_path)
    assert cluster.show(long_job)["JobState"] == "CANCELLED" and "goes back" not in text
    wait_for(lambda: not cluster.call("squeue", "-h"), "the queue to be empty", PATIENCE)


def test_the_job_of_a_lost_node_goes_on(cluster, long_job, tmp_path):
    node = ("scontrol", "update", "NodeName=node1")
    cluster.call(*node, "State=DOWN", "Reason=lost")
    wait_for(lambda: cluster.show(long_job).get("Restarts") == "1", "the queue", PATIENCE)
    cluster.call(*node, "State=RESUME")
    code, text = cluster.finish(long_job, tmp_path, PATIENCE)
    assert code == 0 and int(last_step(tmp_path)["step"]) == LAST_STEP, text


def test_clipses_scripts_train_and_evaluate_on_one_node(cluster, table, checkpoint, tmp_path):
    script = str(ROOT / "scripts/train_sanw_debias.sbatch")
    flags = training(table, checkpoint, "--batch-size", "10")
    code, text = cluster.run(script, *flags, cwd=tmp_path)
    assert code == 0 and float(last_step(tmp_path)["w_mean"]) <= 1, text
    line = ("--model", "hardpairs-test", "--pretrained", "logs/run/checkpoints/epoch_1.pt")
    line += ("--data", str(table), "--device", "cpu", "--out", "evaluated")
    code, text = cluster.run(str(ROOT / "scripts/eval_retrieval.sbatch"), *line, cwd=tmp_path)
    assert code == 0, text
    assert json.loads((tmp_path / "evaluated/evaluation.json").read_text())["images"] == 40


def test_an_array_embeds_into_one_folder(cluster, table, checkpoint, tmp_path):
    """Two jobs share the parts, and a third, later one finds all done."""
    line = ("--csv", str(table), "--model", "hardpairs-test", "--pretrained", str(checkpoint))
    line += ("--device", "cpu", "--workers", "0", "--part-rows", "4", "--out", "emb")
    script = str(ROOT / "scripts/embed.sbatch")
    output = ("--output=slurm-%j.out", "--wait")
    cluster.call("sbatch", *output, "--cpus-per-task=1", "--array=0-1", script, *line, cwd=tmp_path)
    texts = [path.read_text() for path in tmp_path.glob("slurm-*.out")]
    assert len(texts) == 2 and "40 pairs = 40 embedded + 0 rejected" in "".join(texts), texts
    code, text = cluster.run("--array=0", output[0], script, *line, cwd=tmp_path)
    assert code == 0 and "already embedded" in text
