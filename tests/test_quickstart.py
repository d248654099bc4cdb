"""The small quickstart from the first command to the page: real img2dataset, real torchrun, and started again; and the script alone,
with commands that make empty files, for which steps it runs."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time

import pytest

from hardpairs.training.upstream import patched
from tests.helpers import ROOT, listen_to_ctrl_c


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    command = [
        "bash",
        "scripts/quickstart.sh",
        "--small",
        "--out",
        str(folder / "runs"),
        "--data",
        str(folder / "data"),
    ]
    return (
        folder,
        command,
        subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=900, stdin=subprocess.DEVNULL
        ),
    )


def test_everything_it_promises_is_there(finished):
    folder, _, done = finished
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((folder / "runs/summary.json").read_text())
    for method in ("base", "plain", "hard", "hard_sanw"):
        for key in (
            "image_to_text_R@1",
            "text_to_image_R@10",
            "image_to_text_MRR",
            "text_to_image_mAP@10",
            "image_to_text_beats_hard_pairs",
        ):
            assert 0 <= summary[method][key] <= 1
    assert summary["mined"]["rows"] == 302 and summary["mined"]["rows_with_pairs"] > 0
    assert {"train_base", "mine_train", "train_hard_sanw", "evaluate_hard"} <= set(
        summary["seconds"]
    )
    assert "3.3.0" in summary["versions"].values()
    page = (folder / "runs/report.html").read_text()
    assert (
        "http://" not in page.replace("http://www.w3.org", "").replace("http://127.0.0.1", "")
        and "data:image" in page
    )
    assert "report.html" in done.stdout and "--use-hard" in done.stdout
    assert len((folder / "runs/run_registry.csv").read_text().splitlines()) == 5


def test_the_downloads_losses_are_told(finished):
    folder = finished[0]
    lost = json.loads((folder / "runs/logs/csv_train.out").read_text())
    assert lost["rows"] == lost["usable"] + sum(lost["rejected"].values())
    assert any("404" in reason for reason in lost["failed_downloads"]) and lost["rejected"] == {
        "empty_caption": 2
    }


def test_finished_steps_are_not_repeated(finished):
    _, command, _ = finished
    started = time.monotonic()
    again = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
    )
    assert again.returncode == 0 and again.stderr.count("done before") == 20, again.stderr
    assert time.monotonic() - started < 120


def test_interrupted_it_stops_with_130_and_leaves_no_process(tmp_path):
    command = [
        "bash",
        "scripts/quickstart.sh",
        "--small",
        "--out",
        str(tmp_path / "runs"),
        "--data",
        str(tmp_path / "data"),
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=listen_to_ctrl_c,
    )
    try:
        for line in process.stdout:
            if "[download_train]" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(120) == 130
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    end = time.monotonic() + 20
    while left := subprocess.run(
        ["pgrep", "-fa", str(tmp_path)], capture_output=True, text=True
    ).stdout:
        assert time.monotonic() < end, left
        time.sleep(0.1)
    assert (tmp_path / "runs/.done/demo_data").exists()


@pytest.mark.parametrize("flags", [("--sedes", "3"), ("--seeds", "none"), ("--seeds", "0")])
def test_wrong_flags(flags):
    done = subprocess.run(
        ["bash", "scripts/quickstart.sh", *flags], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2


STAND_INS = {
    "scripts/setup.sh": "",
    "scripts/download_table.sh": """
        table=$1 out=$2
        kill -0 "$(cat "$(dirname "$table")/server.json")" || exit 9  # nobody serves the pictures
        [ ! -e "$out" ] && mkdir -p "$out"
    """,
    "scripts/train_node.sh": """
        while [ $# -gt 0 ]; do case $1 in --logs) logs=$2 ;; --name) name=$2 ;; esac; shift; done
        mkdir "$logs/$name" "$logs/$name/checkpoints" && touch "$logs/$name/checkpoints/epoch_1.pt"
    """,
    ".venv/bin/python": """
        module=$2 serve= dataset=
        while [ $# -gt 0 ]; do case $1 in --out | --save_path) out=$2 ;; --dataset) dataset=$2 ;; --serve) serve=1 ;; esac; shift; done
        if [ "$serve" ]; then echo $$ > "$out/pid"; mv "$out/pid" "$out/server.json"; exec sleep 60; fi
        case $module in
            tools.demo_data) made=$out/train.tsv ;;
            tools.wds_to_csv | tools.report) made=$out ;;
            mining.embed) made=$out/manifest.json; [ ! -e "$made" ] || exit 4 ;;  # as it does for another model
            mining.hard_pair_mining) made=$out/${dataset}_hard_sample.csv ;;
            tools.evaluate) made=$out/evaluation.json ;;
        esac
        if [ "$module" = "$(cat broken 2> /dev/null)" ]; then exit 9; fi
        mkdir -p "$(dirname "$made")" && touch "$made"
    """,
}


@pytest.fixture
def steps(tmp_path):
    """Runs the script with stand-ins for all that it calls; gives the names of the steps that ran, and those that were done before."""
    for name, text in STAND_INS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}")
        (tmp_path / name).chmod(0o755)
    shutil.copy(ROOT / "scripts/quickstart.sh", tmp_path / "scripts")

    def run(*flags, code=0):
        done = subprocess.run(
            ["bash", "scripts/quickstart.sh", "--small", "--out", "r", *flags],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        run.stdout = done.stdout
        names = re.findall(r"^\[(\w+(?:-seed\d)?)\] (done before)?", done.stderr, re.MULTILINE)
        return [name for name, before in names if not before], [
            name for name, before in names if before
        ]

    return run


def test_steps_depend_on_the_steps_before_them(steps, tmp_path):
    order, before = steps()
    assert len(order) == 20 and not before
    assert steps() == ([], order)

    def from_step(name):
        place = order.index(name)
        return order[place:], order[:place]

    shutil.rmtree(tmp_path / "r/hard")
    assert steps() == from_step("train_hard")
    (tmp_path / "r/base/checkpoints/epoch_1.pt").unlink()
    assert steps() == from_step("train_base")  # with embeddings of another base in the way
    shutil.rmtree(tmp_path / "data/quickstart-small")
    assert steps() == (order, [])  # the downloads have their server
    shutil.rmtree(tmp_path / "data/quickstart-small/shards/val")
    assert steps() == from_step("download_val")
    assert steps("--data", "elsewhere") == (order, [])
    assert steps("--data", "elsewhere", "--force") == (order, [])
    assert steps("--data", "elsewhere") == ([], order)


def test_a_stopped_run_goes_on_where_it_stopped(steps, tmp_path):
    """Neither the steps that --force had not come to, nor those after a repeated one, are taken for done."""
    order, _ = steps()
    place = order.index("mine_train")
    for flags in ((), ("--force",)):
        if not flags:
            (tmp_path / "r/embeddings/train/manifest.json").unlink()
        (tmp_path / "broken").write_text("mining.hard_pair_mining")
        assert steps(*flags, code=9)[0][-1] == "mine_train"
        (tmp_path / "broken").unlink()
        assert steps() == (order[place:], order[:place])


def test_more_seeds_keep_the_first(steps):
    order, _ = steps()
    more, before = steps("--seeds", "2")
    assert before == order[:-1] and len(more) == 7 and more[-1] == "report"
    assert steps("--seeds", "2")[0] == []


def test_the_line_for_own_data_warms_up_within_the_run(steps, tmp_path, monkeypatch):
    """OpenCLIP's default is 10,000 steps: a small table would never come to its learning rate."""
    steps()
    (line,) = (shlex.split(line) for line in steps.stdout.splitlines() if "train_node.sh" in line)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.csv").write_text(
        "filepath,title\n" + "".join(f"{i}.jpg,picture {i}\n" for i in range(25_600))
    )
    for flag, values in (
        ("--use-hard", 0),
        ("--hard-dict-dir", 1),
        ("--pretrained", 1),
    ):  # their files are not here
        place = line.index(flag)
        del line[place : place + 1 + values]
    args = patched("params").parse_args(line[2:])
    assert (args.warmup, args.epochs, args.lr) == (10, 1, 1e-5)
