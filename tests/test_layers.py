"""Who may import whom (CONTRIBUTING.md), and what no source of ours may contain."""

import ast
import re

import pytest

from tests.helpers import ROOT

FOLDERS = {
    "formats": ROOT / "src/formats",
    "towers": ROOT / "src/towers",
    "training": ROOT / "src/training",
    "evaluation": ROOT / "src/evaluation",
    "mining": ROOT / "mining",
    "tools": ROOT / "tools",
}
MAY_IMPORT = {
    "formats": set(),
    "towers": {"formats"},
    "evaluation": {"formats"},
    "mining": {"formats", "towers"},
    "training": {"formats", "towers", "evaluation"},
    "tools": {"formats", "towers", "evaluation", "mining", "training"},
}
FORBIDDEN = r"pickle\.load|yaml\.load\(|(?<![.\w])eval\(|shell=True|extractall|trust_remote_code|weights_only=False|allow_pickle=True"


ACROSS = {"src/training/remine.py": {"mining.search"}}
"""Single modules that one file of another room may import."""


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("room", FOLDERS)
def test_imports_go_one_way(room):
    for path in FOLDERS[room].rglob("*.py"):
        others = {name.split(".")[0] for name in set(imports(path)) - ACROSS.get(str(path.relative_to(ROOT)), set())}
        wrong = (others & (set(FOLDERS) | {"open_clip_train"})) - MAY_IMPORT[room] - {room}
        assert not wrong, f"{path} imports {wrong}"


@pytest.mark.parametrize("room", FOLDERS)
def test_nothing_runs_code_from_data(room):
    for path in FOLDERS[room].rglob("*.py"):
        found = re.search(FORBIDDEN, path.read_text())
        assert not found, f"{path}: {found}"


def test_every_module_says_what_it_is():
    for folder in FOLDERS.values():
        for path in folder.rglob("*.py"):
            assert ast.get_docstring(ast.parse(path.read_text())), path


def test_options_stay_few():
    """A new flag is a decision: this list is changed with it."""
    from argparse import ArgumentParser

    from training.flags import add_arguments

    parser = ArgumentParser()
    add_arguments(parser)
    flags = {option for action in parser._actions for option in action.option_strings if option.startswith("--") and "_" not in option}
    assert flags == {
        *("--help", "--use-hard", "--hard-dict-dir", "--batching", "--hard-per-target", "--hard-topk", "--empty-rows", "--max-steps"),
        *("--hard-skip", "--hard-choice", "--hard-schedule", "--batching-embeddings", "--reject", "--p-topical", "--topical-clusters"),
        *("--topical-round-robin", "--m-per-class", "--neighbourhood", "--neighbourhood-size"),
        *(
            "--max-bad-fraction",
            "--csv-group-key",
            "--csv-label-key",
            "--unlabelled",
            "--url-index",
            "--freeze-bn-stats",
            "--loss-fn",
            "--false-negative-mask",
            "--no-false-negative-mask",
        ),
        *("--margin-weight", "--margin-similarity", "--margin-direction", "--sanw-debias", "--sanw-alpha", "--sanw-delta", "--sanw-lambda"),
        *("--sanw-m1", "--sanw-m2", "--sanw-gamma", "--sanw-beta", "--sanw-normalize", "--no-sanw-normalize", "--sanw-max-weight"),
        *("--config", "--margin-detach", "--geometry-weight", "--freeze-logit-scale-epochs", "--loss-block-rows", "--sanw-warmup-epochs"),
        *("--sanw-exempt-partners", "--sanw-source", "--sanw-embeddings", "--sanw-variant"),
        *("--preset", "--embed", "--im-wt", "--learn-im-wt", "--mlp-layers", "--miner", "--metric-temperature", "--metric-margin"),
        *("--metric-negative-margin", "--metric-scale", "--projection", "--head-dropout", "--m", "--k", "--checkpoint"),
        *("--augment", "--freeze-backbone", "--no-freeze-backbone", "--freeze-epochs", "--head-lr", "--save-best", "--patience"),
        "--class-neighbours",
        *("--captions-json", "--image-root", "--image-weights", "--vocabulary-from", "--warmup-epochs"),
        *("--remine-every", "--false-negative-embeddings", "--false-negative-threshold"),
    }
