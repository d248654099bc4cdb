"""Options that only the trainer of OpenCLIP's main has, beside ours."""

from __future__ import annotations

import argparse

from hardpairs.core.errors import usage
from hardpairs.training.config import TrainingConfig

OTHER_MODELS = ("genlip", "genlap", "clap")
"""Parts of the names of models that have no image tower or no contrastive loss."""
FSDP_REASONS = {
    "remine_every": "each process embeds rows of its own",
    "memory_every": "each process embeds rows of its own",
    "freeze_epochs": "parameters are frozen and freed as a whole",
    "recover_steps": "it puts whole weights back",
    "ema": "one process averages the weights",
    "save_every_steps": "one process saves the state",
    "save_every_minutes": "one process saves the state",
    "watch": "one process measures the second data set",
}
"""Options of ours that do not work with ``--fsdp``, and what they do with the model."""


def check_main(config: TrainingConfig, args: argparse.Namespace) -> None:
    """Refuse options of main that do not work with our batches. Others have none of them.

    Args:
        config: The run's configuration, with batches of ours.
        args: OpenCLIP's options.

    Raises:
        UserError: Exit 2.
    """
    _check_inputs(args)
    if getattr(args, "fsdp", False):
        _check_fsdp(config, args)


def is_main(args: argparse.Namespace) -> bool:
    """Return whether the options are those of OpenCLIP's main, which alone has ``--fsdp``."""
    return hasattr(args, "fsdp")


def _check_inputs(args: argparse.Namespace) -> None:
    """Refuse what has other inputs than images of one size and texts of one length."""
    from hardpairs.models.model_config import model_config

    if any(part in args.model.lower() for part in OTHER_MODELS):
        raise usage(
            f"{args.model} does not work together with our batches and losses",
            why="they are for models of images and texts",
        )
    for name in ("use_naflex", "force_naflex_vision"):
        if getattr(args, name, False):
            raise usage(
                f"--{name.replace('_', '-')} does not work together with our batches and losses",
                why="NaFlex chooses the size of a batch by its images, and ours hold planned rows",
                fix="leave it out",
            )
    text = (model_config(args.model) or {}).get("text_cfg") or {}
    if text.get("variable_text"):
        raise usage(
            f"{args.model} does not work together with our batches and losses",
            why="its texts are of variable length, and our batches hold texts of one length",
            fix="another --model",
        )
    if "audio" in (getattr(args, "dataset_type", None) or ""):
        raise usage(f"--dataset-type {args.dataset_type} is not for our batches of images")


def _check_fsdp(config: TrainingConfig, args: argparse.Namespace) -> None:
    for name, reason in FSDP_REASONS.items():
        if getattr(args, name, None):
            raise usage(
                f"--fsdp does not work together with --{name.replace('_', '-')}",
                why=f"{reason}, and with FSDP no process has the whole model",
                fix="leave one out",
            )
    if config.embeds_first:
        raise usage(
            f"--fsdp does not work together with --batching {config.batching} without embeddings",
            why="each process embeds rows of its own, and with FSDP no process has the whole model",
            fix="hardpairs embed, and --batching-embeddings FOLDER",
        )
    if config.needs_labels:
        raise usage(
            f"--fsdp does not work together with --loss-fn {config.loss_fn}",
            why="one process measures with the head, and with FSDP none has the whole model",
            fix="leave --fsdp out",
        )
    if args.fsdp_checkpoint == "sharded":
        raise usage(
            "--fsdp-checkpoint sharded does not work together with our batches and losses",
            why="such a checkpoint has no room for what a resumed run checks",
            fix="--fsdp-checkpoint full",
        )
