"""The patched OpenCLIP trainer with our flags: real processes, real data, one step at a time where it can be seen."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import time

import numpy as np
import pytest
import torch

from hardpairs.batches import BATCHES
from hardpairs.data.opening import open_samples
from tests.helpers import ROOT, picture, run, torchrun
from tests.processes import start

TINY = (
    "--model",
    "hardpairs-test",
    "--device",
    "cpu",
    "--precision",
    "fp32",
    "--workers",
    "0",
    "--log-every-n-steps",
    "1",
    "--warmup",
    "1",
)
COMMA = ("--csv-separator", ",", "--csv-img-key", "filepath", "--csv-caption-key", "title")
SAME_PIXELS = ("--aug-cfg", "scale=(1.0,1.0)")


def train(logs, name, *flags, processes=0, env=None, **options):
    """A run by training.main, by torchrun with processes."""
    command = ("-m", "--", "training.main", *TINY, "--logs", str(logs), "--name", name, *flags)
    if processes:
        return torchrun(processes, *command, env=env, **options)
    return run("python", "-m", *command[2:], env=env, **options)


def steps(logs, name):
    with open(logs / name / "metrics.csv") as file:
        return list(csv.DictReader(file))


def checkpoint(logs, name, epoch=1):
    return torch.load(logs / name / f"checkpoints/epoch_{epoch}.pt", weights_only=True)


def test_helips_published_command_line(table, hard_pairs, tmp_path):
    """The README's command of HELIP: only paths, model, processes, workers, device, sizes and precision are changed; a CPU emulates amp."""
    imagenet = tmp_path / "imagenet/val"
    for number in range(6):
        folder = imagenet / ("n01440764", "n01443537")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.JPEG").write_bytes(picture(number))
    done = run(
        *(
            "python",
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node=2",
            "-m",
            "training.main",
        ),
        *(
            "--train-data",
            str(table),
            "--train-num-samples",
            "40",
            "--dataset-type",
            "csv",
            "--batch-size",
            "10",
            "--precision",
            "fp32",
        ),
        *(
            "--workers",
            "1",
            "--csv-img-key",
            "filepath",
            "--csv-separator",
            ",",
            "--use-hard",
            "--hard-dict-dir",
            str(hard_pairs),
        ),
        *(
            "--imagenet-val",
            str(imagenet),
            "--zeroshot-frequency",
            "1",
            "--model",
            "hardpairs-test",
            "--device",
            "cpu",
            "--max-steps",
            "2",
            "--log-every-n-steps",
            "1",
        ),
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
    )
    assert done.returncode == 0, done.stderr
    (log,) = tmp_path.glob("logs/*/metrics.csv")
    rows = steps(log.parent.parent, log.parent.name)
    assert [(row["targets"], row["mined"], row["random"]) for row in rows] == [
        ("10", "10", "0"),
        ("20", "20", "0"),
    ]
    assert all(np.isfinite(float(row["loss"])) for row in rows)
    assert (log.parent / "out.log").read_text().count("Advice: ") == 1
    checkpoints = log.parent / "checkpoints"
    assert (checkpoints / "epoch_1.pt").is_file()
    measured = json.loads((checkpoints / "results.jsonl").read_text())
    assert 0 <= measured["imagenet-zeroshot-val-top1"] <= measured["imagenet-zeroshot-val-top5"]


def add_kinds(table):
    """Add a column of ten groups of rows."""
    rows = table.read_text().splitlines()
    kinds = (f"{row},{i % 10}" for i, row in enumerate(rows[1:]))
    table.write_text("\n".join([rows[0] + ",kind", *kinds]))


def test_one_and_two_processes_train_the_same_model(table, hard_pairs, embeddings, tmp_path):
    add_kinds(table)
    train(
        tmp_path,
        "start",
        "--train-data",
        str(table),
        *COMMA,
        "--batch-size",
        "20",
        "--batching",
        "random",
        "--max-steps",
        "2",
    )
    start = str(tmp_path / "start/checkpoints/epoch_1.pt")
    flags = (
        "--train-data",
        str(table),
        *COMMA,
        "--pretrained",
        start,
        "--max-steps",
        "3",
        "--freeze-bn-stats",
        *SAME_PIXELS,
    )
    flags += (
        "--opt",
        "timm/sgd",
        "--momentum",
        "0.5",
        "--lr",
        "0.1",
        "--wd",
        "0",
    )  # Adam blows up rounding where a gradient is 0 in theory
    hard = (
        "--use-hard",
        "--hard-dict-dir",
        str(hard_pairs),
        "--loss-fn",
        "sanw_debias",
        "--sanw-delta",
        "0",
        "--margin-weight",
        "0.1",
        "--loss-ring",
    )
    soft = ("--guided-mask", str(embeddings), "--blend-targets", str(embeddings))
    soft += ("--multi-positive", "--csv-group-key", "kind", "--hardness-weight", "5")
    soft += ("--blend-scale", "5", "--loss-block-rows", "5")
    initial = checkpoint(tmp_path, "start")["state_dict"]
    for kind, more in (("soft-", soft), ("", hard)):
        for name, batch_size, processes in (("one", "16", 0), ("two", "8", 2)):
            sizes = ("--batch-size", batch_size)
            done = train(tmp_path, kind + name, *flags, *more, *sizes, processes=processes)
            assert done.returncode == 0, done.stderr
        one, two = checkpoint(tmp_path, kind + "one"), checkpoint(tmp_path, kind + "two")
        moved = 0.0
        for name, weight in one["state_dict"].items():
            torch.testing.assert_close(
                two["state_dict"]["module." + name], weight, rtol=1e-4, atol=1e-5
            )
            moved = max(moved, float((weight - initial[name]).abs().max()))
        assert moved > 1e-3
    assert all(float(row["guided_pct"]) > 0 for row in steps(tmp_path, "soft-two"))
    assert one["vocabulary"] == two["vocabulary"] == checkpoint(tmp_path, "start")["vocabulary"]
    assert (
        one["hardpairs"] == two["hardpairs"]
        and one["hardpairs"]["dataset_fingerprint"] == open_samples(table).fingerprint
    )
    assert [row["mined"] for row in steps(tmp_path, "one")] == [
        row["mined"] for row in steps(tmp_path, "two")
    ]
    w_mean = [[float(row["w_mean"]) for row in steps(tmp_path, name)] for name in ("one", "two")]
    assert all(0 < w < 1 for w in w_mean[0])


RUNS_ONE_AFTER_ANOTHER = """
import json, os, sys
from hardpairs.core.errors import run_command
from training.main import main

def runs():
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"  # each process group gets a store of its own: in one they meet the last one's keys
    for port, flags in json.loads(sys.argv[1].replace("$RANK", os.environ["RANK"])):
        os.environ["MASTER_PORT"] = str(port)
        main(flags)

run_command(runs)
"""


def one_after_another(processes, folder, lines):
    """torchrun of several training runs in one interpreter, which saves their imports."""
    (folder / "run.py").write_text(RUNS_ONE_AFTER_ANOTHER)
    runs = [(free_port(), line) for line in lines]
    return torchrun(
        processes, str(folder / "run.py"), json.dumps(runs), env={"PYTHONPATH": f"{ROOT}/src"}
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_each_maker_of_batches_trains(table, hard_pairs, embeddings, tmp_path, processes):
    """Two steps of a global batch of 8 with each, under torchrun."""
    add_kinds(table)
    flags = (
        "--train-data",
        str(table),
        *COMMA,
        "--batch-size",
        str(8 // processes),
        "--max-steps",
        "2",
        *TINY,
        "--workers",
        str(processes - 1),
        "--logs",
        str(tmp_path),
    )
    own = {
        "random": (),
        "topical": ("--batching-embeddings", str(embeddings), "--topical-clusters", "8"),
        "m-per-class": ("--csv-group-key", "kind"),
        "class-neighbours": (
            "--csv-group-key",
            "kind",
            "--class-neighbours",
            "1",
            "--batching-embeddings",
            str(embeddings),
        ),
        "neighbourhood": ("--hard-dict-dir", str(hard_pairs), "--neighbourhood-size", "4"),
        "hard-pairs": (
            "--hard-dict-dir",
            str(hard_pairs),
            "--hard-choice",
            "cycle",
            "--hard-skip",
            "1",
        ),
    }
    assert own.keys() == BATCHES.keys()
    lines = [
        [*flags, "--batching", batching, *more, "--name", batching]
        for batching, more in own.items()
    ]
    done = one_after_another(processes, tmp_path, lines)
    assert done.returncode == 0, done.stderr
    for batching in own:
        targets = 8 if batching in ("hard-pairs", "class-neighbours") else 16
        last = steps(tmp_path, batching)[-1]
        assert (last["step"], last["targets"], last["mined"], last["random"]) == (
            "1",
            str(targets),
            str(16 - targets),
            "0",
        )
        assert np.isfinite(float(last["loss"])) and checkpoint(tmp_path, batching)["epoch"] == 1


def test_ranks_that_would_make_other_batches_stop(table, tmp_path):
    """Each rank reads a table of its own, in another order."""
    rows = table.read_text().splitlines()
    for rank, order in enumerate((rows[1:], rows[:0:-1])):
        (tmp_path / f"rank{rank}.csv").write_text(
            "\n".join([rows[0] + ",group", *(f"{row},{i % 9}" for i, row in enumerate(order))])
        )
    flags = [
        *TINY,
        "--logs",
        str(tmp_path),
        "--name",
        "x",
        *COMMA,
        "--batching",
        "m-per-class",
        "--batch-size",
        "8",
        "--max-steps",
        "1",
    ]
    done = one_after_another(
        2, tmp_path, [[*flags, "--train-data", str(tmp_path / "rank$RANK.csv")]]
    )
    assert done.returncode != 0 and "ranks [1] make other batches than rank 0" in done.stderr, (
        done.stderr
    )


def test_frozen_batch_norms_keep_their_statistics(table, tmp_path):
    flags = (
        "--train-data",
        str(table),
        *COMMA,
        "--batch-size",
        "20",
        "--batching",
        "random",
        "--max-steps",
        "1",
    )
    train(tmp_path, "start", *flags)
    start = tmp_path / "start/checkpoints/epoch_1.pt"
    for name, more in (("frozen", ("--freeze-bn-stats",)), ("free", ())):
        done = train(tmp_path, name, *flags, "--pretrained", str(start), *more)
        assert done.returncode == 0, done.stderr
    key = "visual.bn1.running_mean"
    before, frozen, free = (
        checkpoint(tmp_path, name)["state_dict"][key] for name in ("start", "frozen", "free")
    )
    assert torch.equal(before, frozen) and not torch.equal(before, free)
    done = run(
        "python",
        "-m",
        "mining.embed",
        "--csv",
        str(table),
        *TINY[:2],
        "--pretrained",
        str(tmp_path / "frozen/checkpoints/epoch_1.pt"),
        "--out",
        str(tmp_path / "e"),
    )
    assert done.returncode == 0, done.stderr  # a frozen checkpoint loads into the ordinary model


@pytest.mark.parametrize("kind", ["random", "hard"])
def test_shards_train_like_their_csv(shards, tmp_path, kind):
    count = len(open_samples(shards))
    (tmp_path / "hard.csv").write_text(
        "".join(f"{row},{(row + 1) % count},{(row + 5) % count}\n" for row in range(count))
    )
    batching = (
        ("--batching", "random")
        if kind == "random"
        else ("--use-hard", "--hard-dict-dir", str(tmp_path / "hard.csv"))
    )
    run(
        "python",
        "-m",
        "tools.wds_to_csv",
        "--shards",
        str(shards),
        "--out",
        str(tmp_path / "a.csv"),
    )
    flags = ("--batch-size", "6", *batching, "--max-steps", "2", *SAME_PIXELS)
    for name, data in (("csv", tmp_path / "a.csv"), ("tars", shards)):
        done = train(tmp_path, name, "--train-data", str(data), *COMMA, *flags)
        assert done.returncode == 0, done.stderr
    first, second = (checkpoint(tmp_path, name)["state_dict"] for name in ("csv", "tars"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_epochs_accumulation_and_validation(table, hard_pairs, tmp_path):
    flags = (
        "--use-hard",
        "--hard-dict-dir",
        str(hard_pairs),
        "--batch-size",
        "4",
        "--accum-freq",
        "2",
        "--epochs",
        "2",
        "--val-data",
        str(table),
    )
    done = train(tmp_path, "x", "--train-data", str(table), *COMMA, *flags)
    assert done.returncode == 0, done.stderr
    rows = steps(tmp_path, "x")
    assert [int(row["step"]) for row in rows] == list(range(20)) and rows[-1]["targets"] == "80"
    told = (tmp_path / "x/out.log").read_text()
    assert f"targets: 80 mined: {rows[-1]['mined']}" in told and told.count("pos_logit: ") == 20
    assert (
        "40/40" not in done.stderr
        and len((tmp_path / "x/checkpoints/results.jsonl").read_text().splitlines()) == 2
    )


@pytest.mark.parametrize(
    "loss",
    [
        ("--memory-batches", "2", "--freeze-backbone", "--freeze-epochs", "1"),
        ("--loss-fn", "global", "--global-rho", "2"),
    ],
    ids=["memory", "global"],
)
def test_a_resumed_run_has_what_the_loss_kept(table, tmp_path, loss):
    """Three epochs, of which the last is trained once more from the checkpoint before it: the same weights."""
    data = ("--train-data", str(table), *COMMA, *SAME_PIXELS)
    flags = (*data, "--batch-size", "8", "--epochs", "3", *loss)
    done = train(tmp_path, "run", *flags)
    assert done.returncode == 0, done.stderr
    rows, first = steps(tmp_path, "run"), checkpoint(tmp_path, "run", 3)
    if "--memory-batches" in loss:
        # The memory is emptied when the backbone thaws.
        assert [row["memory_rows"] for row in rows[:7]] == ["8.0", *["16.0"] * 4, "8.0", "16.0"]
        assert any(0 < float(row["memory_drift"] or 0) < 1 for row in rows[5:])
        assert "--freeze-bn-stats" in done.stderr
        assert "--memory-match makes that slower" in done.stderr  # the backbone thaws
        assert len(first["loss"]["memory"]) == 2
    else:
        assert first["loss"]["log_normalizers"].isfinite().all()
        assert rows[0]["global_gamma"] == "1.0" and rows[-1]["global_gamma"] == "0.2"
    (tmp_path / "run/checkpoints/epoch_3.pt").unlink()
    again = train(tmp_path, "run", *flags, "--resume", "latest")
    assert again.returncode == 0, again.stderr
    second = checkpoint(tmp_path, "run", 3)
    for part in ("state_dict", "loss"):
        torch.testing.assert_close(second[part], first[part], rtol=0, atol=0)


def test_steps_are_cut_into_equal_epochs(table, tmp_path):
    flags = (
        "--train-data",
        str(table),
        *COMMA,
        "--batch-size",
        "20",
        "--batching",
        "random",
        "--max-steps",
        "6",
    )
    assert train(tmp_path, "x", *flags, "--epochs", "3").returncode == 0
    assert (tmp_path / "x/checkpoints/epoch_3.pt").exists() and len(steps(tmp_path, "x")) == 6
    done = train(tmp_path, "y", *flags, "--epochs", "4")
    assert done.returncode == 2 and "cannot be cut into --epochs 4" in done.stderr


def test_unreadable_pictures_are_replaced_counted_and_too_many_stop_the_run(table, tmp_path):
    (tmp_path / "images/4.jpg").write_bytes(b"<html>")
    flags = (
        "--train-data",
        str(table),
        *COMMA,
        "--batch-size",
        "16",
        "--batching",
        "random",
        "--workers",
        "1",
        "--epochs",
        "1",
    )
    done = train(tmp_path, "x", *flags, "--max-bad-fraction", "0.1")
    assert done.returncode == 0, done.stderr
    last = steps(tmp_path, "x")[-1]
    assert int(last["unreadable"]) >= 1 and int(last["reserves"]) >= 1
    assert sum(int(last[name]) for name in ("targets", "random", "mined", "reserves")) == 48
    done = train(tmp_path, "long", *flags[:-1], "3")  # one picture of forty, three times
    assert done.returncode == 0 and done.stderr.count("images/4.jpg (not_an_image)") == 1, (
        done.stderr
    )
    for i in range(0, 40, 2):
        (tmp_path / f"images/{i}.jpg").unlink(missing_ok=True)
    done = train(tmp_path, "y", *flags)
    assert done.returncode == 3 and "missing_file" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (("--train-data", "TABLE", "--batching", "random"), 3, "--csv-separator ','"),
        (("--train-data", "none.csv", *COMMA, "--batching", "random"), 2, "no such file"),
        (("--train-data", "TABLE", *COMMA, "--use-hard"), 2, "needs --hard-dict-dir"),
        (("--train-data", "TABLE", *COMMA, "--hard-dict-dir", "PAIRS"), 2, "nothing uses it"),
        (
            ("--train-data", "OTHER", *COMMA, "--use-hard", "--hard-dict-dir", "PAIRS"),
            4,
            "was made from other data",
        ),
        (
            (
                "--train-data",
                "TABLE",
                *COMMA,
                "--use-hard",
                "--hard-dict-dir",
                "PAIRS",
                "--batch-size",
                "7",
            ),
            2,
            "--batch-size 6 or 8",
        ),
        (
            ("--train-data", "TABLE", *COMMA, "--batching", "random", "--batch-size", "64"),
            2,
            "fewer than one global batch of 64",
        ),
        (
            ("--train-data", "TABLE", *COMMA, "--batching", "random", "--batch-size", "1"),
            2,
            "has no negatives",
        ),
        (("--train-data", "TABLE", *COMMA, "--loss-fn", "helip"), 2, "only hard-pair batches have"),
        (
            (
                "--train-data",
                "TABLE",
                *COMMA,
                "--loss-fn",
                "clip_ce",
                "--batching",
                "random",
                "--sanw-delta",
                "0.5",
            ),
            2,
            "nothing uses it",
        ),
        (
            ("--train-data", "TABLE", *COMMA, "--loss_fn", "sanw_bandpass", "--sanw_m1", "0.9"),
            2,
            "--sanw-m1 must be below",
        ),
        (
            ("--train-data", "TABLE", *COMMA, "--loss-fn", "sanw_debias", "--sanw-delta", "nan"),
            2,
            "finite",
        ),
        (
            ("--train-data", "TABLE", *COMMA, "--batching", "random", "--dataset-resampled"),
            2,
            "--dataset-resampled does not work together",
        ),
        (
            (
                "--train-data",
                "TABLE",
                *COMMA,
                "--batching",
                "random",
                "--batch-size",
                "8",
                "--pretrained",
                "no.pt",
            ),
            2,
            "no such checkpoint",
        ),
        (
            ("--train-data", "TABLE", *COMMA, "--pretrained", "no-tag", "--batch-size", "8"),
            2,
            "neither a file nor a tag",
        ),
    ],
)
def test_wrong_input_is_refused_before_a_model_is_built(
    table, hard_pairs, tmp_path, flags, code, says
):
    other = tmp_path / "other.csv"
    other.write_text(table.read_text().replace("number 3\n", "number three\n"))
    names = {"TABLE": str(table), "PAIRS": str(hard_pairs), "OTHER": str(other)}
    done = train(tmp_path, "x", *(names.get(flag, flag) for flag in flags))
    assert done.returncode == code and says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "Model:" not in done.stderr


def test_a_failing_ranks_code_and_message_reach_the_shell(table, tmp_path):
    flags = (*TINY, "--logs", str(tmp_path), "--train-data", str(table), "--batching", "random")
    done = run("bash", "scripts/train_node.sh", *flags, env={"PROCESSES": "2"})
    assert done.returncode == 3
    assert re.search(
        r"error: no column 'title' or 'filepath'|error: no column 'filepath' or 'title'",
        done.stderr[-900:],
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow  # four fresh processes; tests/scripts/test_slurm.py has two nodes, too
def test_two_nodes_on_loopback(table, tmp_path):
    environment = {
        **os.environ,
        "NODES": "2",
        "HEAD": f"127.0.0.1:{free_port()}",
        "PROCESSES": "1",
        "INTERFACE": "lo",
        "OMP_NUM_THREADS": "1",
    }
    flags = (
        *TINY,
        "--train-data",
        str(table),
        *COMMA,
        "--batching",
        "random",
        "--batch-size",
        "8",
        "--max-steps",
        "2",
        "--logs",
        str(tmp_path),
        "--name",
        "x",
    )
    nodes = [
        subprocess.Popen(
            ["bash", "scripts/train_multinode.sh", *flags],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [node.communicate(timeout=240)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    assert steps(tmp_path, "x")[-1]["targets"] == "32"


@pytest.mark.parametrize(
    ("script", "flags", "shows"),
    [
        (
            "train_node.sh",
            ("--lr", "1"),
            "--standalone --nproc_per_node 1 -m -- hardpairs.cli train --lr 1",
        ),
        (
            "train_multinode.sh",
            ("--lr", "1"),
            "--nnodes 2 --nproc_per_node 1 --rdzv_backend c10d --rdzv_endpoint h:1 --rdzv_id hardpairs",
        ),
        ("train.sbatch", (), "--standalone --nproc_per_node 1"),
        (
            "train_sanw_debias.sbatch",
            ("--sanw_alpha", "0.5"),
            "--loss-fn sanw_debias --sanw_alpha 0.5",
        ),
        ("train_sanw_bandpass.sbatch", (), "--loss-fn sanw_bandpass"),
        ("eval_retrieval.sbatch", ("--data", "a b"), "-m tools.evaluate --data a\\ b"),
        ("embed.sbatch", ("--csv", "a b"), "-m mining.embed --csv a\\ b"),
    ],
)
def test_scripts_print_the_final_command(script, flags, shows):
    done = run(
        "bash",
        f"scripts/{script}",
        "--print",
        *flags,
        env={"NODES": "2", "HEAD": "h:1", "PROCESSES": "1"},
    )
    assert done.returncode == 0 and shows in done.stdout


@pytest.mark.parametrize("script", ["train.sbatch", "train_sanw_debias.sbatch"])
def test_slurm_scripts_find_the_project_from_another_folder(script, tmp_path):
    done = run("bash", str(ROOT / "scripts" / script), "--print", "--lr", "1", cwd=tmp_path)
    assert done.returncode == 0 and "hardpairs.cli train" in done.stdout
    copy = tmp_path / script  # as SLURM runs it, from a spool folder
    copy.write_text((ROOT / "scripts" / script).read_text())
    lost = run("bash", str(copy), "--print", cwd=tmp_path)
    assert lost.returncode == 2 and "set HARDPAIRS_ROOT" in lost.stderr
    submitted = {"SLURM_SUBMIT_DIR": str(ROOT)}
    assert run("bash", str(copy), "--print", cwd=tmp_path, env=submitted).returncode == 0


def test_a_job_on_several_machines_has_the_first_code(tmp_path):
    """srun ends the other machines by SIGTERM and returns their 143."""
    code = tmp_path / "code"
    environment = {"PROCESSES": "1", "HARDPAIRS_JOB_STATUS": str(code)}
    done = run("bash", "scripts/train_node.sh", "--nothing", env=environment)
    assert done.returncode == 2 and code.read_text() == "2"


def test_multinode_says_what_it_needs():
    done = run("bash", "scripts/train_multinode.sh", "--lr", "1", env={"NODES": "", "HEAD": ""})
    assert done.returncode == 2 and "NODES and HEAD are needed" in done.stderr


def test_a_stopped_rank_ends_the_others(table, tmp_path):
    """Two processes without torchrun, of which one is stopped amid an epoch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    flags = ("--train-data", str(table), "--csv-separator", ",", "--batching", "random")
    flags += ("--model", "hardpairs-test", "--device", "cpu", "--workers", "0", "--batch-size", "4")
    flags += ("--epochs", "500", "--logs", str(tmp_path), "--name", "r", "--peer-timeout", "4")
    command = ("python", "-m", "training.main", *flags, "--save-frequency", "0", "--warmup", "1")
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    told = [tmp_path / f"told{rank}" for rank in range(2)]
    ranks = [
        start(command, {**env, "RANK": str(n), "LOCAL_RANK": str(n)}, ROOT, told[n], told[n])
        for n in range(2)
    ]
    lock = tmp_path / "r/.train.lock"
    try:
        while not (told[0].exists() and "Train Epoch: 2" in told[0].read_text()):
            assert all(rank.is_alive() for rank in ranks), told[0].read_text()
            time.sleep(0.1)
        assert lock.exists()
        second = run(*command, "--resume", "latest")
        assert second.returncode == 2 and "another job works on the run r" in second.stderr
        os.kill(ranks[1].pid, signal.SIGSTOP)
        ranks[0].join(40)
        assert ranks[0].exitcode == 7, told[0].read_text()
        assert "process 1 has not answered for 4 s" in told[0].read_text()
        # What it did is as old as its last message: a step, or what lies between two epochs.
        assert f"process 1 on {socket.gethostname()}, " in told[0].read_text()
        assert not lock.exists()
    finally:
        for rank in ranks:
            rank.kill()
