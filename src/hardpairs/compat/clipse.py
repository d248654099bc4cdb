"""CLIPSE (github.com/skcpda/CLIPSE): its training flags, its settings and its YAML files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from hardpairs.compat.spelling import (
    CommandLine,
    Spelling,
    System,
    aliased,
    computed,
    passed_over,
    renamed,
    same,
    switched,
)
from hardpairs.core.errors import bad_input, usage

LOSSES = {"baseline": "clip_ce"}
"""CLIPSE's name in the code, where its README has ours -> ours."""

PRESETS = {
    "clipse": (
        *("--epochs", "10", "--batch-size", "32", "--lr", "1e-5", "--wd", "0.01", "--seed", "42"),
        *("--warmup-epochs", "2", "--lr-scheduler", "const", "--grad-clip-norm", "1.0"),
        *("--precision", "fp32", "--workers", "0", "--log-every-n-steps", "20"),
        *("--sanw-alpha", "0.1", "--sanw-delta", "0.2", "--sanw-lambda", "0.5"),
        *("--sanw-m1", "0.1", "--sanw-m2", "0.9", "--sanw-gamma", "0.5"),
    )
}
"""The defaults of CLIPSE's program, which trains at a constant rate."""


def _complete(line: CommandLine) -> None:
    """Choose between a checkpoint and a tag as CLIPSE does, and keep logs and checkpoints together.

    MiniCLIP has ``--checkpoint_dir``, too, and it is ``--logs`` there.
    """
    local = line.take("--local-checkpoint-path")
    if local is not None and (os.path.exists(local) or line.value("--pretrained") is None):
        line.take("--pretrained")
        line.words += ["--pretrained", local]
    elif local is not None:
        line.notes.append(f"{local} does not exist: --pretrained {line.value('--pretrained')}")
    logs = line.take("--log-dir")
    if logs is not None:
        if line.take("--logs") is not None:
            line.notes.append("--checkpoint_dir is passed over: they lie in LOGS/NAME/checkpoints")
        line.words += ["--logs", logs]


CLIPSE = System(
    title="CLIPSE (github.com/skcpda/CLIPSE)",
    spellings={
        "train": {
            "--loss_fn": aliased("--loss-fn", LOSSES),
            "--sanw_alpha": same(),
            "--sanw_delta": same(),
            "--sanw_lambda": same(),
            "--sanw_m1": same(),
            "--sanw_m2": same(),
            "--sanw_gamma": same(),
            "--sanw_beta": same(),
            "--sanw_beta_warmup_epochs": renamed("--sanw-warmup-epochs"),
            "--batch_size": same(),
            "--model_name": renamed("--model"),
            "--pretrained_tag": renamed("--pretrained"),
            "--local_checkpoint_path": Spelling("--pretrained", flag="--local-checkpoint-path"),
            "--dataset_path": computed(
                "--train-data, with --preset clipse",
                lambda path: ["--train-data", path, "--preset", "clipse"],
            ),
            "--dataset_name": passed_over("--train-data names the data"),
            "--warmup_epochs": same(),
            "--freeze_logit_scale_epochs": same(),
            "--num_workers": renamed("--workers"),
            "--grad_clip": renamed("--grad-clip-norm"),
            "--log_every": renamed("--log-every-n-steps"),
            "--log_dir": Spelling("--logs", flag="--log-dir"),  # see _complete
            "--run_id": renamed("--name"),
            "--amp": switched("--precision", "amp"),
            "--log_file": passed_over("each run writes metrics.csv and out.log into its folder"),
        }
    },
    presets=PRESETS,
    complete={"train": _complete},
    note="--config FILE reads its YAML files as they are.",
)

KEYS = {
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
    "scheduler.warmup_epochs": "warmup_epochs",
    "weight_decay": "wd",
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
"""CLIPSE's keys, sections joined by dots -> ours."""
PASSED_OVER = {
    "output_dir": "give --logs",
    "model_dir": "give --model and --pretrained",
    "data.flickr8k": "give --train-data",
    "dataset.name": "--train-data names the data",
    "loss.stopgrad_weights": "weights never carry a gradient",
    "logit_scale": "OpenCLIP starts at ln(1/0.07) or with the pretrained value, "
    "and stops at ln(100)",
    "loss.floor": "no weight is below 0.001",
    "diagnostics": "weights are logged with each step, see docs/losses.md",
    "curriculum": "CLIPSE's code does not read it",
    "optimization": "CLIPSE's code does not read it",
    "eval": "hardpairs evaluate",
    "save": "every epoch is saved; see --save-frequency",
}
"""CLIPSE's keys or sections without a counterpart -> what to use instead."""
GEOMETRY_WEIGHT = 0.1
"""Weight of the geometry term in CLIPSE's code."""


TOPICAL = ("dataset.topical", "data.topical_batching")
"""Sections of topical batches."""
ROOTS = ("dataset.root", "dataset.path")
"""Keys of the data's folder, which may name a variable of the environment."""
EXPERIMENT = ("backbones", "methods", "training")
"""Sections of an experiment_*.yaml."""


def translate_config(
    values: Mapping[str, Any], line: CommandLine | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Translate a YAML file of CLIPSE's.

    Args:
        values: The file's mapping. Keys that are not CLIPSE's stay as they are.
        line: The command line beside it, which chooses among an experiment's methods and seeds, and
            may hold the embeddings that topical batches need.

    Returns:
        Our keys without sections, and notes on what was passed over.

    Raises:
        UserError: Exit 2 for an experiment that trains nothing, exit 3 for values of a form that
            CLIPSE's files do not have.
    """
    try:
        return _translated(values, line or CommandLine([]))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, StopIteration) as error:
        raise bad_input(
            f"--config: not a file of CLIPSE's: {type(error).__name__} {error}",
            fix="compare it with the files in CLIPSE's configs folder",
        ) from None


def _translated(values: Mapping[str, Any], line: CommandLine) -> tuple[dict[str, Any], list[str]]:
    notes: list[str] = []
    if "experiment" in values:
        values, notes = _one_of_experiment(values, line)
    ours: dict[str, Any] = {}
    for key, value in _leaves(values):
        if key in PASSED_OVER:
            notes.append(f"{key} is passed over: {PASSED_OVER[key]}")
        elif key in TOPICAL:
            batching, more = _topical(value, line)
            ours |= batching
            notes += more
        elif key in ROOTS:
            folder = os.path.expandvars(str(value))
            if "$" in folder:
                notes.append(f"{key} is passed over: {value} is not set; give --train-data")
            else:
                ours["train_data"] = folder
        elif key == "amp":
            ours["precision"] = "amp" if value else "fp32"
        elif key == "optim.betas":
            ours["beta1"], ours["beta2"] = value
        elif key == "loss.geometry_align.enabled":
            ours |= {"geometry_weight": GEOMETRY_WEIGHT} if value else {}
        elif key == "loss.name":
            ours["loss_fn"] = LOSSES.get(value, value)
        elif not key.startswith("loss.geometry_align"):
            ours[KEYS.get(key, key)] = value
    if "loss_fn" in ours and isinstance(values.get("loss"), Mapping):
        ours = _with_schedule(ours)
    return ours, notes


def _with_schedule(ours: dict[str, Any]) -> dict[str, Any]:
    """Add CLIPSE's constant rate and its warm-up of none, where the file has no schedule."""
    if "lr_scheduler" not in ours:
        ours["lr_scheduler"] = "const"
    if not {"warmup", "warmup_epochs"} & ours.keys():
        ours["warmup"] = 0
    return ours


def _topical(section: Any, line: CommandLine) -> tuple[dict[str, Any], list[str]]:
    if not isinstance(section, Mapping) or not section.get("enabled"):
        return {}, []
    notes = []
    if not line.gives("--batching-embeddings"):
        notes = [
            "topical batches: the run embeds the data with its start model first; "
            "--batching-embeddings FOLDER takes stored embeddings"
        ]
    names = {"k": "topical_clusters", "k_clusters": "topical_clusters", "p_topical": "p_topical"}
    options = {names[key]: value for key, value in section.items() if key in names}
    return {"batching": "topical", **options}, notes


def _one_of_experiment(
    values: Mapping[str, Any], line: CommandLine
) -> tuple[dict[str, Any], list[str]]:
    """Return one run of an experiment_*.yaml, as a file of a run has it.

    The line's ``--loss-fn``, ``--pretrained`` and ``--seed`` choose; else the first ones are taken.
    """
    if not all(section in values for section in EXPERIMENT):
        raise usage(
            f"--config: the experiment {values['experiment']!r} trains nothing",
            fix="hardpairs evaluate --model M --pretrained FILE --data INDEX.jsonl",
        )
    methods, backbones = values["methods"], values["backbones"]
    asked = (line.value("--loss-fn") or next(iter(methods))).replace("-", "_")
    name = next((n for n, m in methods.items() if asked in (n, _loss_of(m))), next(iter(methods)))
    tag = line.value("--pretrained")
    backbone = next((b for b in backbones if tag in (b["name"], b["pretrained_tag"])), backbones[0])
    training = dict(values["training"])
    seeds = training.pop("seeds", [0])
    local = backbone.get("local_checkpoint_path", "")
    method = {key: value for key, value in methods[name].items() if key != "loss_fn"}
    run = {
        **training,
        **method,
        "seed": seeds[0],
        "amp": False,
        "model_name": backbone["model_name"],
        "pretrained_tag": local if os.path.exists(local) else backbone["pretrained_tag"],
        "loss": {"name": methods[name]["loss_fn"]},
        "dataset": values.get("dataset", {}),
    }
    text = (
        f"{values['experiment']}: method {name} of {', '.join(methods)} (--loss-fn), weights "
        f"{backbone['name']} of {', '.join(b['name'] for b in backbones)} (--pretrained), seed "
        f"{seeds[0]} of {', '.join(map(str, seeds))} (--seed)"
    )
    return run, [text]


def _loss_of(method: Mapping[str, Any]) -> str:
    name = str(method["loss_fn"])
    return LOSSES.get(name, name)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of all leaves; a section that is read whole is a leaf."""
    for key, value in values.items():
        key = f"{prefix}{key}"
        if isinstance(value, Mapping) and key not in PASSED_OVER and key not in TOPICAL:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value
