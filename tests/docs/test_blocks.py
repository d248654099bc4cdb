"""The code blocks of README and docs run: on small data, with paths, models and sizes replaced."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks_of, commands_of
from tests.docs.test_flags import PAGES
from tests.docs.world import copy_world, make_world
from tests.helpers import ROOT, run

REPLACED = (
    # tests/training/test_trainer.py runs the script itself.
    (r"^bash scripts/train_node\.sh", "torchrun -m -- training.main"),
    (r"--model (ViT|RN50)[\w-]*|--model M\b", "--model hardpairs-test"),
    (r"--model miniclip-lstm(?! --pretrained miniclip-lstm\.pt)", "--model miniclip-test"),
    (r"(hardpairs train .*(model_type |preset miniclip-)lstm)", r"\1 --model miniclip-test"),
    (r"--pretrained (laion2b_s34b_b79k|openai)", "--pretrained start.pt"),
    (r"epoch_32\.pt", "epoch_1.pt"),
    (
        r"(hardpairs compare) (\w+)",
        r"\1 \2 --batch-size 8 --steps 10 --losses supcon,triplet --seeds 1",
    ),
    (r"--losses arcface,\S+", "--losses arcface,contrastive_squared"),
    (r"--batch-size \d+", "--batch-size 8"),
    (r"--steps \d+", "--steps 10"),
    (r"--lr 1e-6 1e-5", "--lr 1e-5"),
    (
        r"((?:training\.main|hardpairs train) .*)",
        r"\1 --batch-size 6 --epochs 1 --warmup 1 --workers 0",
    ),
    (r"--precision amp", "--precision fp32"),
    (r"--recover-steps \d+", "--recover-steps 2"),
    (r"--watch imagenet/val", "--watch gallery"),
    (r"epoch_3\.pt", "epoch_1.pt"),
    (r"hardpairs merge laion2b_s34b_b79k", "hardpairs merge start.pt"),
    (r"--topk \d+", "--topk 5"),
    (r"--nproc_per_node[= ]\d+", "--nproc_per_node 2"),
    (r"\{00000\.\.00331\}", "{00000..00001}"),
    (r"--end_tar 99", "--end_tar 1"),
    (r"~/Pictures", "Pictures"),
    (r"(index Pictures)", r"\1 --model hardpairs-test --pretrained start.pt"),
    (r"(--dataset cc3m .* 5)$", r"\1 --model hardpairs-test --pretrained start.pt"),
)
"""What is replaced in a documented command before it runs."""
SKIPPED = {
    r"^source |^\. |&& \.": "the environment is there already",
    r"scripts/(setup|test|quickstart)\.sh": "tests of their own run them",
    r"scripts/replicate_clippings\.sh": "tests/test_scripts.py runs it",
    r"scripts/replicate_helip\.sh": "tests/scripts/test_replicate_helip.py runs it",
    r"^pip install": "the wheel's own test installs it",
    r"\bsbatch\b": "it needs SLURM",
    r"scripts/stage\.sh": "it fetches weights; tests/cli/test_stage.py runs it",
    r"scripts/download_": "it needs the network; tests/demo/test_quickstart.py downloads from loopback",
    r" serve\b": "it serves until it is stopped; tests/photos runs it",
    r"timm/|sentence-transformers/": "its weights come from a hub",
    r"tools\.apply_patches|^hardpairs patch": "tests/patching/test_tree.py runs it",
}
"""Commands that are not run, and why."""
EMBED = "python -m mining.embed --csv pairs.csv --model hardpairs-test --pretrained start.pt --out"
MINE = "python -m mining.hard_pair_mining --dataset pairs --embeddings before --topk 5 --save_path"
EVALUATE = "python -m tools.evaluate --model hardpairs-test --pretrained best.pt --baselines"
EARLIER = {
    "embed.md": [
        f"{EMBED} before",
        f"{MINE} mined",
        f"{MINE} HPM",
        f"{MINE} IMAGE --mining_method image",
        f"{MINE} TEXT --mining_method text",
    ],
    "losses.md": [f"{EMBED} emb"],
    "mining.md": [f"{EMBED} emb"],
    "photo-evaluation.md": [
        f"{EVALUATE} --data test/captions.json --method transformer --out runs/transformer-0"
    ],
}
"""Commands that a page's reader ran before."""
SHELL = re.compile(r"^bash |[|&;<>*?$`]")


def replaced(command: str) -> str:
    """Return a documented command as it is run here."""
    for pattern, text in REPLACED:
        command = re.sub(pattern, text, command)
    return command


def skip_reason(command: str) -> str:
    """Return why a command is not run; empty if it is."""
    return next((why for pattern, why in SKIPPED.items() if re.search(pattern, command)), "")


def line_of(command: str) -> list[str]:
    """Return the arguments that run a command: of its module, or of a shell where it needs one."""
    if SHELL.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", command)):
        return ["bash", "-euo", "pipefail", "-c", command]
    program, *rest = shlex.split(command)
    modules = {
        "hardpairs": ["-m", "hardpairs.cli"],
        "torchrun": ["-m", "torch.distributed.run", "--standalone"],
    }
    return ["python" if program in modules else program, *modules.get(program, []), *rest]


def run_line(line: list[str], folder: Path) -> None:
    """Run a command in a page's folder; fail with what it printed."""
    env = {
        "PATH": os.pathsep.join([str(folder / ".bin"), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "HARDPAIRS_DATA": str(folder / "data"),
    }
    done = run(*line, env=env, cwd=folder)
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"


def run_block(block: Block, folder: Path) -> None:
    """Run the commands of a block in a page's folder."""
    if block.language == "python":
        run_line(["python", "-c", block.text], folder)
        return
    for command in commands_of(block):
        if not skip_reason(command):
            run_line(line_of(replaced(command)), folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory, checkpoint):
    return make_world(tmp_path_factory.mktemp("docs") / "world", checkpoint)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.relative_to(ROOT).as_posix(), marks=pytest.mark.slow)
        for page in PAGES
        if any(not block.reason for block in blocks_of(page))
    ],
)
def test_blocks_run(page, world, tmp_path):
    folder = copy_world(world, tmp_path / "page")
    for command in EARLIER.get(page.name, ()):
        run_line(line_of(command), folder)
    for block in blocks_of(page):
        if not block.reason:
            run_block(block, folder)
