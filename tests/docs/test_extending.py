"""docs/extending.md: its files make a package of components that list, help and training know."""

from __future__ import annotations

import os
import re

import pytest

from tests import helpers
from tests.helpers import ROOT
from tests.processes import FORGETS

TITLED = re.compile(r'(?m)^```(\w+) title="([^"]+)"\n(.*?)^```$', re.S)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The page's files, installed: a package beside the metadata that names its entry points."""
    folder = tmp_path_factory.mktemp("my-parts")
    for _, name, text in TITLED.findall((ROOT / "docs/extending.md").read_text()):
        if "." in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    (folder / "my_parts/__init__.py").write_text("")
    installed = folder / "my_parts-0.1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-parts\nVersion: 0.1\n")
    project = (folder / "pyproject.toml").read_text()
    groups = re.findall(r'entry-points\."([\w.]+)"\]\n((?:.+\n)+)', project)
    lines = [f"[{group}]\n{names.replace(chr(34), '')}" for group, names in groups]
    (installed / "entry_points.txt").write_text("\n".join(lines))
    return folder


def run(package, *command, cwd=None):
    """Run Python as a fork that finds the components anew."""
    paths = os.pathsep.join([str(package), str(ROOT / "src"), str(ROOT)])
    environment = {"PYTHONPATH": paths, FORGETS: "1"}
    done = helpers.run("python", *command, env=environment, cwd=cwd or package)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def documented_command(data):
    """Return the page's training command, with the test's data."""
    text = (ROOT / "docs/extending.md").read_text()
    block = next(text for _, name, text in TITLED.findall(text) if name == "use them")
    command = re.sub(r"\\\n\s*", " ", block).strip().split("\n")[-1].removeprefix("hardpairs ")
    names = {"pairs.csv": data["table"], "val.csv": data["table"], "start.pt": data["checkpoint"]}
    return [str(names.get(word, word)) for word in command.split()]


def test_components_are_listed_with_their_options(package):
    losses = run(package, "-m", "hardpairs.cli", "list", "losses").stdout
    assert "smooth_clip" in losses and "smoothed targets" in losses
    assert "in-order" in run(package, "-m", "hardpairs.cli", "list", "batches").stdout
    assert "modality_gap" in run(package, "-m", "hardpairs.cli", "list", "metrics").stdout
    help = run(package, "-m", "hardpairs.cli", "train", "--help").stdout
    help = re.sub(r"-\n\s+", "-", help)  # a name broken at its hyphen
    assert "--smoothing" in help and "in-order" in help


def test_a_run_uses_them(package, table, checkpoint, tmp_path):
    data = {"table": table, "checkpoint": checkpoint}
    words = documented_command(data)
    run(package, "-m", "hardpairs.cli", *words, cwd=tmp_path)
    results = (tmp_path / "logs/mine/checkpoints/results.jsonl").read_text()
    assert "modality_gap" in results
    assert (tmp_path / "logs/mine/checkpoints/best.pt").is_file()


def test_the_test_of_the_page_passes(package):
    run(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_smooth.py")
