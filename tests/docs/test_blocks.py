"""The code blocks of README and docs run: on small data, with paths, models and sizes replaced."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.docs.blocks import Block, blocks_of, commands_of
from tests.docs.test_flags import PAGES
from tests.docs.world import make_world
from tests.helpers import ROOT

REPLACED = (
    (r"--model (ViT|RN50)[\w-]*|--model M\b", "--model hardpairs-test"),
    (r"--pretrained (laion2b_s34b_b79k|openai)", "--pretrained start.pt"),
    (r"--pretrained \S*epoch_32\.pt", "--pretrained start.pt"),
    (r"--(batch-size|batch_size) \d+", r"--\1 6"),
    (r"--(epochs|warmup|workers) \d+", r"--\1 1"),
    (r"--steps \d+", "--steps 2"),
    (r"--precision amp", "--precision fp32"),
    (r"--topk \d+", "--topk 5"),
    (r"--nproc_per_node[= ]\d+", "--nproc_per_node 2"),
    (r"\{00000\.\.00331\}", "{00000..00001}"),
    (r"--end_tar 99", "--end_tar 1"),
)
"""What is replaced in a documented command before it runs."""
SKIPPED = {
    r"^source |^\. |&& \.": "the environment is there already",
    r"scripts/(setup|test|quickstart)\.sh": "tests of their own run them",
    r"^pip install": "the wheel's own test installs it",
    r"\bsbatch\b": "it needs SLURM",
    r"scripts/stage\.sh": "it fetches weights; tests/cli/test_stage.py runs it",
    r"scripts/download_": "it needs the network; tests/demo/test_quickstart.py downloads from loopback",
    r" serve\b": "it serves until it is stopped; tests/photos runs it",
    r"timm/|sentence-transformers/": "its weights come from a hub",
    r"tools\.apply_patches|^hardpairs patch": "tests/patching/test_tree.py runs it",
    r"^make ": "it is what runs these tests",
}
"""Commands that are not run, and why."""


def replaced(command: str) -> str:
    """Return a documented command as it is run here."""
    for pattern, text in REPLACED:
        command = re.sub(pattern, text, command)
    return command


def skip_reason(command: str) -> str:
    """Return why a command is not run; empty if it is."""
    return next((why for pattern, why in SKIPPED.items() if re.search(pattern, command)), "")


@pytest.fixture(scope="module")
def world(tmp_path_factory, checkpoint):
    return make_world(tmp_path_factory.mktemp("docs") / "world", checkpoint)


def run_block(block: Block, folder) -> None:
    """Run a block in the small world; fail with what it printed."""
    path = os.pathsep.join([str(folder / ".bin"), os.environ["PATH"]])
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    env = {**os.environ, "PATH": path, "PYTHONPATH": paths, "HOME": str(folder), "PROCESSES": "1"}
    if block.language == "python":
        lines = [[sys.executable, "-c", block.text]]
    else:
        wanted = [command for command in commands_of(block) if not skip_reason(command)]
        lines = [["bash", "-euo", "pipefail", "-c", replaced(command)] for command in wanted]
    for line in lines:
        done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{line[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=pytest.mark.slow)
        for page in PAGES
        if any(not block.reason for block in blocks_of(page))
    ],
)
def test_blocks_run(page, world):
    for block in blocks_of(page):
        if not block.reason:
            run_block(block, world)
