"""CLIPSE (github.com/skcpda/CLIPSE): its training flags and its YAML files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hardpairs.compat.spelling import System, aliased, passed_over, renamed, same, switched

LOSSES = {"baseline": "clip_ce"}
"""CLIPSE's name in the code, where its README has ours -> ours."""


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
            "--local_checkpoint_path": renamed("--pretrained"),
            "--dataset_path": renamed("--train-data"),
            "--num_workers": renamed("--workers"),
            "--grad_clip": renamed("--grad-clip-norm"),
            "--log_every": renamed("--log-every-n-steps"),
            "--log_dir": renamed("--logs"),
            "--run_id": renamed("--name"),
            "--amp": switched("--precision", "amp"),
            "--log_file": passed_over("each run writes metrics.csv and out.log into its folder"),
        }
    },
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
    "dataset": "give --train-data; topical batches are --batching topical",
    "data.topical_batching": "topical batches are --batching topical",
    "scheduler.warmup_epochs": "OpenCLIP counts steps: give --warmup",
    "loss.stopgrad_weights": "weights never carry a gradient",
    "logit_scale": "OpenCLIP starts at ln(1/0.07) or with the pretrained value, "
    "and stops at ln(100)",
    "loss.floor": "no weight is below 0.001",
    "diagnostics": "weights are logged with each step, see docs/losses.md",
    "curriculum": "CLIPSE's code does not read it",
    "optimization": "CLIPSE's code does not read it",
    "eval": "python -m tools.evaluate",
    "save": "every epoch is saved; see --save-frequency",
}
"""CLIPSE's keys or sections without a counterpart -> what to use instead."""
GEOMETRY_WEIGHT = 0.1
"""Weight of the geometry term in CLIPSE's code."""


def translate_config(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Translate a YAML file of CLIPSE's.

    Args:
        values: The file's mapping. Keys that are not CLIPSE's stay as they are.

    Returns:
        Our keys without sections, and notes on what was passed over.
    """
    ours: dict[str, Any] = {}
    notes = []
    for key, value in _leaves(values):
        if key in PASSED_OVER:
            notes.append(f"{key} is passed over: {PASSED_OVER[key]}")
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
    return ours, notes


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of all leaves; a section without a counterpart is a leaf."""
    for key, value in values.items():
        key = f"{prefix}{key}"
        if isinstance(value, Mapping) and key not in PASSED_OVER:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value
