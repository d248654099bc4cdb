"""Who may import whom (CONTRIBUTING.md), and what no source of ours may contain."""

import ast
import re

import pytest

from tests.helpers import ROOT

PACKAGE = ROOT / "src/hardpairs"
LAYERS = (
    {"core"},
    {"patching"},
    {"data"},
    {"batches", "losses", "metrics", "models"},
    {"catalog", "embedding", "mining"},
    {"training"},
    {"evaluating", "pages"},
    {"checking", "photos", "linking", "comparing", "planning", "recipes", "reporting", "demo"},
    {"compat"},
    {"cli"},
)
"""Packages of ``hardpairs``: each may import its own layer and those before it."""
FEATURES = LAYERS[-3]
"""Packages that may not import each other."""
ENTRY_POINTS = (ROOT / "tools", ROOT / "mining", ROOT / "src/training")
FORBIDDEN = r"pickle\.load|yaml\.load\(|(?<![.\w])eval\(|shell=True|extractall|trust_remote_code|weights_only=False|allow_pickle=True"


KNOWN: dict[str, set[str]] = {}
"""Imports that go the wrong way and are to go away."""


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def layer_of(package):
    return next(number for number, layer in enumerate(LAYERS) if package in layer)


def our_packages(path):
    return {name.split(".")[1] for name in imports(path) if name.startswith("hardpairs.")}


@pytest.mark.parametrize("package", sorted(set().union(*LAYERS)))
def test_imports_go_one_way(package):
    allowed = set().union(*LAYERS[: layer_of(package) + 1])
    if package in FEATURES:
        allowed -= FEATURES
    if package == "embedding":
        allowed -= {"mining"}
    for path in (PACKAGE / package).rglob("*.py"):
        known = KNOWN.get(str(path.relative_to(PACKAGE)), set())
        wrong = our_packages(path) - allowed - {package} - known
        assert not wrong, f"{path} imports {wrong}"


def test_every_package_has_a_layer():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders - {"compat"} == set().union(*LAYERS) - {"compat"}


def test_entry_points_call_commands_alone():
    for folder in ENTRY_POINTS:
        for path in folder.glob("*.py"):
            assert our_packages(path) <= {"cli", "core", "training"}, path


def test_nothing_runs_code_from_data():
    for path in PACKAGE.rglob("*.py"):
        found = re.search(FORBIDDEN, path.read_text())
        assert not found, f"{path}: {found}"


def test_every_module_says_what_it_is():
    for path in PACKAGE.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_options_stay_few():
    """A new flag is a decision: this list is changed with it."""
    from argparse import ArgumentParser

    from hardpairs.training.hooks.flags import add_arguments

    parser = ArgumentParser()
    add_arguments(parser)
    every = {option for action in parser._actions for option in action.option_strings}
    flags = {option for option in every if option.startswith("--") and option[:5] != "--no-"}
    assert flags == {
        *("--advice", "--allow-remote", "--augment", "--batching", "--batching-embeddings"),
        "--caption-template",
        *("--captions-json", "--ema", "--recover-steps", "--watch", "--resume-changes"),
        *("--save-every-minutes", "--save-every-steps", "--keep-checkpoints", "--peer-timeout"),
        *("--class-neighbours", "--config", "--csv-group-key", "--embed", "--empty-rows"),
        *("--false-negative-embeddings", "--false-negative-mask", "--false-negative-threshold"),
        *("--freeze-backbone", "--freeze-bn-stats", "--freeze-epochs"),
        *("--global-eps", "--global-gamma", "--global-reference", "--global-rho"),
        *("--freeze-logit-scale-epochs", "--geometry-weight", "--hard-choice", "--hard-dict-dir"),
        *("--memory-batches", "--memory-every", "--memory-match"),
        *(
            "--hard-per-target",
            "--hard-schedule",
            "--hard-score-margin",
            "--hard-skip",
            "--hard-topk",
        ),
        *("--head-dropout", "--split", "--val-split"),
        *("--head-lr", "--help", "--im-wt", "--image-root", "--image-weights", "--learn-im-wt"),
        *("--blend-scale", "--blend-share", "--blend-targets", "--guided-margin"),
        *("--guided-mask", "--guided-max-share", "--hardness-weight", "--multi-positive"),
        *("--loss-block-rows", "--loss-fn", "--loss-ring", "--m-per-class", "--margin-detach"),
        *("--margin-direction", "--margin-similarity", "--margin-weight", "--max-bad-fraction"),
        *("--max-steps", "--metric-margin", "--metric-negative-margin", "--metric-scale"),
        *("--metric-temperature", "--miner", "--mlp-layers", "--neighbourhood"),
        *("--neighbourhood-size", "--p-topical", "--patience", "--preset", "--projection"),
        *(
            "--reject",
            "--results-dir",
            "--remine-every",
            "--sanw-alpha",
            "--sanw-beta",
            "--sanw-debias",
        ),
        *("--sanw-delta", "--sanw-embeddings", "--sanw-exempt-partners", "--sanw-gamma"),
        *("--sanw-lambda", "--sanw-m1", "--sanw-m2", "--sanw-max-weight", "--sanw-normalize"),
        *("--sanw-source", "--sanw-variant", "--sanw-warmup-epochs", "--save-best"),
        *("--topical-clusters", "--topical-round-robin", "--unlabelled", "--url-index"),
        *("--use-hard", "--vocabulary-from", "--warmup-epochs"),
    }
