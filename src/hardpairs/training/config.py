"""``--config FILE``: flags from a YAML file, ours by their own names or CLIPSE's files as they are."""

from __future__ import annotations

import argparse
import difflib
import logging
from collections.abc import Iterator
from typing import Any

import yaml

from hardpairs.core.errors import bad_input, usage

CLIPSE = {
    "data.batch_size": "batch_size",
    "num_workers": "workers",
    "data.num_workers": "workers",
    "grad_clip": "grad_clip_norm",
    "log_every": "log_every_n_steps",
    "log.interval": "log_every_n_steps",
    "exp_name": "name",
    "experiment_name": "name",
    "model_name": "model",
    "model.name": "model",
    "pretrained_tag": "pretrained",
    "model.pretrained": "pretrained",
    "optim.name": "opt",
    "optim.lr": "lr",
    "optim.eps": "eps",
    "optim.weight_decay": "wd",
    "optim.grad_clip": "grad_clip_norm",
    "scheduler.name": "lr_scheduler",
    "loss.name": "loss_fn",
    "loss.alpha": "sanw_alpha",
    "loss.delta": "sanw_delta",
    "loss.lambda": "sanw_lambda",
    "loss.lam": "sanw_lambda",
    "loss.m1": "sanw_m1",
    "loss.m2": "sanw_m2",
    "loss.gamma": "sanw_gamma",
    "loss.sanw_beta": "sanw_beta",
    "loss.sanw_beta_warmup_epochs": "sanw_warmup_epochs",
}
"""CLIPSE's keys that have another name here, sections joined by dots."""
WITHOUT_COUNTERPART = {
    "output_dir": "give --logs",
    "model_dir": "give --model and --pretrained",
    "data.flickr8k": "give --train-data",
    "dataset": "give --train-data; topical batches are --batching topical",
    "data.topical_batching": "topical batches are --batching topical",
    "scheduler.warmup_epochs": "OpenCLIP counts steps: give --warmup",
    "loss.stopgrad_weights": "weights never carry a gradient",
    "logit_scale": "OpenCLIP starts at ln(1/0.07) or with the pretrained value, and stops at ln(100)",
    "loss.floor": "no weight is below 0.001",
    "diagnostics": "weights are logged with each step, see docs/losses.md",
    "curriculum": "CLIPSE's code does not read it",
    "optimization": "CLIPSE's code does not read it",
    "eval": "python -m tools.evaluate",
    "save": "every epoch is saved; see --save-frequency",
}
"""CLIPSE's keys, or sections, that are passed over with a message."""


FIRST = ("--config", "--preset", "--model_type", "--training_type")
"""Flags that stand for others."""


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds ``--config``. What stands after it on the command line wins; ``training.main`` puts it first."""
    parser.add_argument(
        "--config",
        action=_Config,
        metavar="FILE",
        help="flags from a YAML file; the command line wins",
    )


def config_first(argv: list[str]) -> list[str]:
    """The command line with its ``--config FILE``, ``--preset NAME`` MiniCLIP's ``--model_type`` and CLIPPINGS' ``--training_type`` moved to the
    front, so that every other flag overrides them."""
    first, rest, words = [], [], iter(argv)
    for word in words:
        if word in FIRST:
            first += [word, *(value for value in [next(words, None)] if value is not None)]
        else:
            (first if word.partition("=")[0] in FIRST else rest).append(word)
    return first + rest


class _Config(argparse.Action):
    def __call__(self, parser, namespace, value, option_string=None) -> None:
        setattr(namespace, self.dest, value)
        parser.parse_args(config_flags(parser, value), namespace)


def config_flags(parser: argparse.ArgumentParser, path: str) -> list[str]:
    """The command line that a YAML file stands for.

    Raises:
        UserError: exit 2 for a missing file or an unknown key, exit 3 for a file that is no YAML mapping.
    """
    try:
        with open(path, encoding="utf-8") as file:
            values = yaml.safe_load(file)
    except OSError as error:
        raise usage(f"--config cannot be read: {error.strerror}", where=path) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise bad_input(f"not a YAML file: {' '.join(str(error).split())}", where=path) from None
    if not isinstance(values, dict):
        raise bad_input("a config is a mapping of flags to values", where=path)
    actions = {
        option.lstrip("-").replace("-", "_"): action
        for action in parser._actions
        for option in action.option_strings
    }
    return [word for key, value in _flatten(values) for word in _words(actions, key, value, path)]


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all leaves; a section without counterpart is a leaf."""
    for key, value in values.items():
        key = f"{prefix}{key}"
        if isinstance(value, dict) and key not in WITHOUT_COUNTERPART:
            yield from _flatten(value, f"{key}.")
        else:
            yield key, value


def _words(actions: dict[str, argparse.Action], key: str, value: Any, path: str) -> list[str]:
    if key in WITHOUT_COUNTERPART:
        logging.warning(f"{path}: {key} is passed over: {WITHOUT_COUNTERPART[key]}")
        return []
    if key == "amp":
        return ["--precision", "amp" if value else "fp32"]
    if key == "optim.betas":
        return ["--beta1", str(value[0]), "--beta2", str(value[1])]
    if key.startswith("loss.geometry_align"):
        return ["--geometry-weight", "0.1"] if key.endswith("enabled") and value else []
    action = actions.get(CLIPSE.get(key, key).replace("-", "_"))
    if action is None:
        near = difflib.get_close_matches(key.replace("-", "_"), [*actions, *CLIPSE], 1)
        raise usage(
            f"no flag is called {key!r}",
            where=path,
            fix=f"did you mean {near[0]!r}?" if near else "python -m training.main --help",
        )
    return _flag(action, value)


def _flag(action: argparse.Action, value: Any) -> list[str]:
    positive = [option for option in action.option_strings if not option.startswith("--no-")]
    if value is None:
        return []
    if isinstance(action, argparse.BooleanOptionalAction):
        return [
            positive[0]
            if value
            else next(option for option in action.option_strings if option.startswith("--no-"))
        ]
    if action.nargs == 0:
        return [positive[0]] if value else []
    if isinstance(value, list):
        return [positive[0], *map(str, value)]
    return [f"{positive[0]}={value}"]
