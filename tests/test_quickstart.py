"""The small quickstart from the first command to the page: real img2dataset, real torchrun, and started again."""

import contextlib
import json
import os
import signal
import subprocess
import time

import pytest

from tests.helpers import ROOT, listen_to_ctrl_c


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    command = ["bash", "scripts/quickstart.sh", "--small", "--out", str(folder / "runs"), "--data", str(folder / "data")]
    return folder, command, subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, stdin=subprocess.DEVNULL)


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
    assert {"train_base", "mine_train", "train_hard_sanw", "evaluate_hard"} <= set(summary["seconds"])
    assert "3.3.0" in summary["versions"].values()
    page = (folder / "runs/report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://127.0.0.1", "") and "data:image" in page
    assert "report.html" in done.stdout and "--use-hard" in done.stdout
    assert len((folder / "runs/run_registry.csv").read_text().splitlines()) == 5


def test_the_downloads_losses_are_told(finished):
    folder = finished[0]
    lost = json.loads((folder / "runs/logs/csv_train.out").read_text())
    assert lost["rows"] == lost["usable"] + sum(lost["rejected"].values())
    assert any("404" in reason for reason in lost["failed_downloads"]) and lost["rejected"] == {"empty_caption": 2}


def test_finished_steps_are_not_repeated(finished):
    _, command, _ = finished
    started = time.monotonic()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert again.returncode == 0 and again.stderr.count("done before") == 20, again.stderr
    assert time.monotonic() - started < 120


def test_interrupted_it_stops_with_130_and_leaves_no_process(tmp_path):
    command = ["bash", "scripts/quickstart.sh", "--small", "--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data")]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, preexec_fn=listen_to_ctrl_c
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
    time.sleep(1)
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout
    assert not left
    assert (tmp_path / "runs/.done/demo_data").exists()


@pytest.mark.parametrize("flags", [("--sedes", "3"), ("--seeds", "none"), ("--seeds", "0")])
def test_wrong_flags(flags):
    done = subprocess.run(["bash", "scripts/quickstart.sh", *flags], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
