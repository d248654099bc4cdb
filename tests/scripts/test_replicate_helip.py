"""scripts/replicate_helip.sh: its commands are ones that our parsers take, and it runs in small."""

from __future__ import annotations

import csv
import itertools
import shlex

import pytest

from hardpairs.cli import embed, evaluate, mine
from tests.helpers import picture, run

SCRIPT = "scripts/replicate_helip.sh"
PARSERS = {
    "mining.embed": embed.parse_args,
    "mining.hard_pair_mining": mine.parse_args,
    "tools.evaluate": evaluate._parse,
}


@pytest.fixture
def stand_in(tmp_path):
    """A table of pairs, and class folders."""
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title"])
        for number in range(24):
            folder = tmp_path / f"classes/val/{'red' if number % 2 else 'green'}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.jpg").write_bytes(picture(number))
            writer.writerow([folder / f"{number}.jpg", f"picture number {number}"])
    return tmp_path


def test_the_printed_commands_are_ones_that_run(stand_in):
    data = str(stand_in / "pairs.csv")
    flags = ["--data", data, "--zero-shot", "imagenet/val", "--linear-probe", "food101"]
    flags += ["--retrieval", "x/dataset_coco.json", "--dry-run", "--", "--wd", ".1"]
    done = run("bash", SCRIPT, *flags)
    assert done.returncode == 0, done.stderr
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    runs = [dict(itertools.pairwise(line)) for line in lines if line[0] == "bash"]
    assert [run["--name"] for run in runs] == ["start", "plain", "hard", "helip"]
    assert {run["--wd"] for run in runs} == {".1"} and runs[0]["--epochs"] == "32"
    # Each pair of a hard-pair epoch brings a hard pair along.
    assert [run["--epochs"] for run in runs[1:]] == ["4", "2", "2"]
    assert len({(run["--pretrained"], run["--lr"], run["--batch-size"]) for run in runs[1:]}) == 1
    last = [len(line) - line[::-1].index("-m") if "-m" in line else 0 for line in lines]
    modules = [line[end:] for line, end in zip(lines, last, strict=True) if end]
    for module, *words in modules:
        PARSERS[module](words)
    names = [words[words.index("--out") + 1].rsplit("/", 2)[1:] for _, *words in modules[2:]]
    assert len(names) == 12 and ["helip", "zero-shot-imagenet-val"] in names


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--data is missing"),
        (["--data", "x"], "nothing to measure"),
        (["--data"], "needs a value"),
        (["--sead", "3"], "no flag --sead"),
    ],
)
def test_what_is_missing_is_told(flags, message):
    done = run("bash", SCRIPT, *flags)
    assert done.returncode == 2 and message in done.stderr


@pytest.mark.slow  # a dozen processes
def test_it_runs_in_small(stand_in, checkpoint):
    flags = ("--data", str(stand_in / "pairs.csv"), "--pretrained", str(checkpoint))
    small = ("--model", "hardpairs-test", "--mine-with-start", "--batch-size", "8", "--epochs", "1")
    rest = (
        "--warmup",
        "1",
        "--topk",
        "5",
        "--duplicate-threshold",
        "1",
        "--zero-shot",
        str(stand_in / "classes/val"),
    )
    out = ("--out", str(stand_in / "out"), "--retrieval", str(stand_in / "pairs.csv"))
    workers = ("--", "--workers", "0")
    done = run("bash", SCRIPT, *flags, *small, *rest, *out, *workers, env={"PROCESSES": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert rows[0][1:5] == ["start", "plain", "hard", "helip"] and len(rows) == 2 + 3
    for name, *values in rows[2:]:
        assert all(0 <= float(value) <= 100 for value in values[:4]), name
