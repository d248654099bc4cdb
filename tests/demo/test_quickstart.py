"""The small quickstart from the first command to the page: real img2dataset, real torchrun, and started
again; and which steps it runs, with stand-ins that make empty files.

``HARDPAIRS_QUICKSTART_KILLS`` is the number of kills of the slow test (default 10).
"""

import contextlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from hardpairs.cli.quickstart import main
from hardpairs.core.errors import Exit, UserError
from hardpairs.demo import steps as demo_steps
from hardpairs.demo.quickstart import HARD, NORMAL, quickstart_steps
from hardpairs.training.upstream import patched
from tests.helpers import ROOT, in_process, listen_to_ctrl_c, picture
from tests.processes import TORCHRUN, Popen, forking

LAUNCH = "hardpairs.training.launch"
DOWNLOAD = """
import runpy
from multiprocessing import context
context.SpawnProcess._Popen = staticmethod(context.ForkProcess._Popen)
runpy.run_module("img2dataset.main", run_name="__main__", alter_sys=True)
"""
"""img2dataset whose processes are forks: each of its own would import everything for five seconds."""


def popen(command, **options):
    """Fork the modules that are run to their end, trainings with torchrun's real agent; start servers
    as they are."""
    if command[1] != "-m" or "env" not in options:
        return subprocess.Popen(command, **options)
    if command[2] == LAUNCH:  # by itself it would start torchrun and the trainers anew
        split = command.index("--")
        trainer = ("-m", "--", "hardpairs.cli", "train")
        command = ("python", "-m", TORCHRUN[0], *command[3:split], *trainer, *command[split + 1 :])
    elif command[2] == "img2dataset.main":
        command = ("python", "-c", DOWNLOAD, *command[3:])
    return Popen(command, **options)


KILLS = int(os.environ.get("HARDPAIRS_QUICKSTART_KILLS", "10"))
LONGEST = 5.0
"""Seconds of a step within which it is killed."""


def in_forks(*flags):
    """Run the command in this process, and its steps in forks."""
    with pytest.MonkeyPatch.context() as patch, forking(demo_steps, popen):
        patch.chdir(ROOT)
        return in_process(main, *flags)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    flags = ["--small", "--out", str(folder / "runs"), "--data", str(folder / "data")]
    return folder, flags, in_forks(*flags)


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
    again = in_forks(*finished[1])
    assert again.returncode == 0 and again.stderr.count("done before") == 20, again.stderr


def summary_of(folder):
    """Return the results, without what the machine decides."""
    summary = json.loads((folder / "runs/summary.json").read_text())
    return {name: value for name, value in summary.items() if name != "seconds"}


def steps_of(folder):
    """Return the names of the steps in order."""
    lines = (folder / "runs/steps.tsv").read_text().splitlines()
    return [line.split("\t")[0] for line in lines]


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_summary(finished, tmp_path):
    """Alone, or with the step that it runs; what is left of it must not disturb the next start."""
    rng, order = random.Random(0), steps_of(finished[0])
    flags = ("--small", "--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data"))
    command = (sys.executable, "-m", "hardpairs.cli", "quickstart", *flags)
    killed = []
    for step in sorted(rng.choices(order, k=KILLS), key=order.index):
        moment = f"{step}, after {(seconds := rng.random() * LONGEST):.1f} s"
        with open(tmp_path / "log", "wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        begun = f"\n[{step}] ".encode()
        while process.poll() is None and begun not in (tmp_path / "log").read_bytes():
            time.sleep(0.02)
        time.sleep(seconds)
        if process.poll() is not None:
            assert process.returncode == 0, (killed, moment, (tmp_path / "log").read_text()[-3000:])
            continue
        rng.choice((os.kill, os.killpg))(process.pid, signal.SIGKILL)
        process.wait()
        killed.append(moment)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, (killed, done.stderr[-3000:])
    assert len(killed) > KILLS / 2
    assert summary_of(tmp_path) == summary_of(finished[0]), killed


def test_without_packages_it_names_the_form_that_needs_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no client of a registry
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = in_forks("--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data"))
    assert done.returncode == Exit.BAD_INPUT
    assert "apt-get" in done.stderr and "fix: hardpairs quickstart --offline" in done.stderr


def test_the_real_form_has_every_method_with_equal_samples(tmp_path):
    steps = {step.name: step.line for step in quickstart_steps(NORMAL, tmp_path, tmp_path, 1)}
    assert list(steps)[:3] == ["data_get", "models_get", "train_base"]
    lines = {name: line for name, line in steps.items() if name.startswith("train_")}
    assert list(lines)[1:] == [
        "train_plain",
        "train_large_batch",
        "train_hard",
        "train_memory_matched",
    ]
    assert not any(HARD in shlex.split(line) for line in steps.values())
    samples = set()
    for name, line in lines.items():
        words = shlex.split(line)
        size, count = (int(words[words.index(f) + 1]) for f in ("--batch-size", "--max-steps"))
        samples |= {size * count} if name != "train_base" else set()
        assert words[words.index("--train-data") + 1] == str(tmp_path / "tuxpaint/train.csv")
    assert len(samples) == 1 and f"{tmp_path}/tuxpaint/test.csv" in steps["evaluate_hard"]


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


@pytest.fixture
def steps(tmp_path, monkeypatch, capsys):
    """Return a function that runs the command with stand-ins for its steps.

    It returns the names of the steps that ran, and of those that were done before. The stand-in of a
    step makes an empty result; that of an embedding refuses what is left of another model.
    """
    serving = []

    @contextlib.contextmanager
    def server(command, ready, *, log, variables):
        serving.append(command)
        yield
        serving.clear()

    def make(step, logs, variables):
        print(f"[{step.name}] {step.line}", file=sys.stderr)
        if step.name in broken:
            raise UserError(Exit.UNEXPECTED, "broken")
        if step.fresh:
            shutil.rmtree(step.fresh, ignore_errors=True)
        assert bool(step.server) == bool(serving)  # nobody else serves the images
        assert not (step.name.startswith("embed") and step.result.exists())
        folder = step.result if step.result == step.fresh else step.result.parent
        folder.mkdir(parents=True, exist_ok=True)
        if folder != step.result:
            step.result.touch()
        (logs / f"{step.name}.out").touch()
        return 1.0

    broken = set()
    monkeypatch.setattr(demo_steps, "_server", server)
    monkeypatch.setattr(demo_steps, "_run", make)
    monkeypatch.chdir(tmp_path)

    def run(*flags, fails=()):
        broken.clear()
        broken.update(fails)
        failure = pytest.raises(UserError) if fails else contextlib.nullcontext()
        with failure:
            assert main(["--small", "--out", "r", *flags]) == 0
        run.stdout, stderr = capsys.readouterr()
        names = re.findall(r"^\[(\w+(?:-seed\d)?)\] (done before)?", stderr, re.MULTILINE)
        return [name for name, done in names if not done], [name for name, done in names if done]

    return run


def test_steps_depend_on_the_steps_before_them(steps, tmp_path):
    order, before = steps()
    assert len(order) == 20 and not before
    assert steps() == ([], order)

    def from_step(name):
        number = order.index(name)
        return order[number:], order[:number]

    shutil.rmtree(tmp_path / "r/hard")
    assert steps() == from_step("train_hard")
    (tmp_path / "r/base/checkpoints/epoch_1.pt").unlink()
    assert steps() == from_step("train_base")  # with embeddings of another base in the way
    shutil.rmtree(tmp_path / "data/quickstart-small")
    assert steps() == (order, [])
    shutil.rmtree(tmp_path / "data/quickstart-small/shards/val")
    assert steps() == from_step("download_val")
    assert steps("--data", "elsewhere") == (order, [])
    assert steps("--data", "elsewhere", "--force") == (order, [])
    assert steps("--data", "elsewhere") == ([], order)


def test_a_stopped_run_goes_on_where_it_stopped(steps, tmp_path):
    """Neither the steps that --force had not come to, nor those after a repeated one, are taken for done."""
    order, _ = steps()
    number = order.index("mine_train")
    for flags in ((), ("--force",)):
        if not flags:
            (tmp_path / "r/embeddings/train/manifest.json").unlink()
        assert steps(*flags, fails=["mine_train"])[0][-1] == "mine_train"
        assert steps() == (order[number:], order[:number])


def test_more_seeds_keep_the_first(steps):
    order, _ = steps()
    more, before = steps("--seeds", "2")
    assert before == order[:-1] and len(more) == 7 and more[-1] == "report"
    assert steps("--seeds", "2")[0] == []


def test_the_line_for_own_data_warms_up_within_the_run(steps, tmp_path, monkeypatch):
    """OpenCLIP's default is 10,000 steps: a small table would never come to its learning rate."""
    steps()
    (line,) = (shlex.split(line) for line in steps.stdout.splitlines() if " train " in line)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(picture(0))
    (tmp_path / "pairs.csv").write_text(
        "filepath,title\n" + "".join(f"a.jpg,picture {i}\n" for i in range(5_120))
    )
    for flag, values in (
        ("--use-hard", 0),
        ("--hard-dict-dir", 1),
        ("--pretrained", 1),
    ):  # their files are not here
        start = line.index(flag)
        del line[start : start + 1 + values]
    args = patched("params").parse_args(line[2:])
    assert (args.warmup, args.epochs, args.lr) == (2, 1, 1e-5)
