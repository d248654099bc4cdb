"""scripts/replicate_clippings.sh, demo_labels.sh, demo_photos.sh and quickstart.sh, and command lines that lack something."""

import csv
import json
import shutil
import subprocess
import sys

import pytest

from tests.helpers import ROOT, picture, run


@pytest.fixture
def news(tmp_path):
    with open(tmp_path / "news.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "text", "label"])
        for i in range(40):
            (tmp_path / f"{i}.jpg").write_bytes(picture(i // 2))
            writer.writerow([tmp_path / f"{i}.jpg", f"picture number {i // 2}", f"story {i // 2}"])
    return tmp_path / "news.csv"


@pytest.mark.slow  # ten processes
def test_seven_rows(news, checkpoint, tmp_path):
    flags = (
        "--model",
        "hardpairs-test",
        "--selfsup",
        str(checkpoint),
        "--supervised",
        str(checkpoint),
        "--out",
        str(tmp_path / "out"),
    )
    done = run("bash", "scripts/replicate_clippings.sh", str(news), *flags)
    assert done.returncode == 0, done.stderr
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in done.stdout.splitlines()
        if line.startswith("|")
    ][2:]
    assert [row[0] for row in rows] == [
        "Jaccard",
        *(
            f"{kind}, {side}"
            for kind in ("self-supervised", "supervised")
            for side in ("visual", "language", "multimodal")
        ),
    ]
    found = {row[0]: float(row[1]) for row in rows}
    assert (
        found["Jaccard"] == 100 and found["supervised, visual"] == 100
    )  # the same text, and the same picture, twice
    assert [row[3] for row in rows][1:3] == ["1.00", "0.00"]
    again = run(
        "bash", "scripts/replicate_clippings.sh", str(news), *flags, "--same-source", "(jpg)$"
    )  # all of one scan: nothing to link
    assert again.returncode == 0 and again.stdout.splitlines()[2].startswith("| Jaccard | 0.0 |")
    assert again.stdout.splitlines()[3:] == done.stdout.splitlines()[3:]


def test_what_is_missing_is_told(news):
    done = run("bash", "scripts/replicate_clippings.sh", str(news), "--model", "hardpairs-test")
    assert done.returncode == 2 and "--supervised" in done.stderr
    done = run(
        "bash",
        "scripts/replicate_clippings.sh",
        "nowhere.csv",
        "--model",
        "m",
        "--selfsup",
        "a",
        "--supervised",
        "b",
    )
    assert done.returncode == 2 and "no such file" in done.stderr


@pytest.mark.slow  # some minutes
def test_the_demonstration_of_losses(tmp_path):
    """scripts/demo_labels.sh --small from the first command to its pages, and again without work."""
    command = (
        "bash",
        "scripts/demo_labels.sh",
        "--small",
        "--seeds",
        "1",
        "--out",
        str(tmp_path / "runs"),
        "--data",
        str(tmp_path / "data"),
    )
    done = run(*command, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {
        row.split("|")[1].strip() for row in done.stdout.splitlines() if row.startswith("| ")
    } >= {"start", "arcface", "supcon"}
    assert (tmp_path / "runs/losses/comparison.html").is_file() and list(
        (tmp_path / "runs").glob("linked-*/clusters.html")
    )
    again = run(*command, timeout=600)
    assert again.returncode == 0 and "training" not in again.stderr.replace("training images", "")


@pytest.mark.slow  # a minute or two
def test_the_demonstration_of_a_collection(tmp_path):
    """scripts/demo_photos.sh --small from the first command to an index, and again without training."""
    command = (
        "bash",
        "scripts/demo_photos.sh",
        "--small",
        "--out",
        str(tmp_path / "runs"),
        "--data",
        str(tmp_path / "data"),
    )
    done = run(*command, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(json.loads((tmp_path / "runs/results/comparison.json").read_text())["methods"]) == {
        "start",
        "lstm",
        "transformer",
        "tuned",
    }
    assert (tmp_path / "runs/index/manifest.json").is_file() and (
        tmp_path / "runs/results/metrics_lstm.json"
    ).is_file()
    assert {
        path.name.rpartition("_")[0] for path in (tmp_path / "runs/results").glob("*_tuned.png")
    } == {*("training_curves", "retrieval_results", "similarity_heatmap", "embedding_space")}
    again = run(*command, timeout=600)
    assert again.returncode == 0 and "[train" not in again.stderr


@pytest.mark.parametrize(
    ("flag", "code", "answer"),
    [("--help", 0, "--seeds N"), ("--sedes", 2, "did you mean --seeds?"), ("--small", 9, "set up")],
)
def test_the_quickstart_looks_at_its_flags_before_set_up(tmp_path, flag, code, answer):
    """With a Python that has no packages, in a clone without an environment."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/quickstart.sh", tmp_path / "scripts")
    (tmp_path / "scripts/setup.sh").write_text("echo set up; exit 9\n")
    (tmp_path / "src").symlink_to(ROOT / "src")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", tmp_path / "scripts/quickstart.sh", flag],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code and answer in done.stdout + done.stderr
