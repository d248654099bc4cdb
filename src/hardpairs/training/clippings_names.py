"""The names that CLIPPINGS' command line has for what is called otherwise here (dell-research-harvard/clippings, train_clippings.py)."""

from __future__ import annotations

import argparse
import logging
from typing import Any

SAME = {
    "--clip_lr": ("lr", float),
    "--mlp_lr": ("head_lr", float),
    "--clip_weight_decay": ("wd", float),
    "--batch_size": ("batch_size", int),
    "--m": ("m_per_class", int),
    "--supcon_temp": ("metric_temperature", float),
    "--contrastive_loss_pos_margin": ("metric_margin", float),
    "--contrastive_loss_neg_margin": ("metric_negative_margin", float),
    "--loss_type": ("loss_fn", str),
    "--wandb_name": ("name", str),
    "--checkpoint_path": ("pretrained", str),
    "--checkpoint": ("pretrained", str),
}
"""Name there: destination here."""


TRAINING_TYPES = {"pretrain": "clippings-pretrain", "train_bienc": "clippings-supcon"}


def add_clippings_names(group: argparse._ArgumentGroup, presets: type[argparse.Action]) -> None:
    """Adds them, after the flags that they stand for; none has a default of its own. ``presets`` is the action of ``--preset``."""
    for name, (destination, kind) in SAME.items():
        _add(group, name, destination, type=kind, help=f"--{destination.replace('_', '-')}")
    _add(
        group,
        "--pooling_type",
        "embed",
        type=_embed,
        metavar="{mean,mlp}",
        help="--embed pooled or mlp",
    )
    _add(
        group,
        "--augmented_crops",
        "augment",
        action="store_const",
        const="scanned-document",
        help="--augment scanned-document",
    )
    _add(
        group,
        "--train_hardneg",
        "batching",
        action="store_const",
        const="class-neighbours",
        help="--batching class-neighbours",
    )
    group.add_argument(
        "--training_type",
        dest="preset",
        type=_preset,
        action=presets,
        metavar="{pretrain,train_bienc}",
        help="--preset clippings-pretrain or clippings-supcon",
    )
    group.add_argument("--train_data_type", help="passed over: --train-data names the data")
    group.add_argument(
        "--freeze_clip_epochs",
        type=int,
        help="with --pooling_type mlp: --lock-image --lock-text --freeze-epochs N",
    )
    _add(
        group,
        "--k",
        "class_neighbours",
        action=_ClassNeighbours,
        type=int,
        help="--class-neighbours: there k counts the class itself",
    )


def _add(group: argparse._ArgumentGroup, name: str, destination: str, **options: Any) -> None:
    there = any(action.dest == destination for action in group._actions)
    group.add_argument(
        name,
        dest=destination,
        default=group.get_default(destination) if there else argparse.SUPPRESS,
        **options,
    )


def _preset(name: str) -> str:
    if name not in TRAINING_TYPES:
        raise argparse.ArgumentTypeError(f"must be {' or '.join(TRAINING_TYPES)}, not {name!r}")
    return TRAINING_TYPES[name]


def _embed(name: str) -> str:
    if name not in ("mean", "mlp"):
        raise argparse.ArgumentTypeError(f"must be mean or mlp, not {name!r}")
    return {"mean": "pooled"}.get(name, name)


def fill_in_clippings(args: argparse.Namespace) -> None:
    """Makes ``--lock-image --lock-text --freeze-epochs`` of ``--freeze_clip_epochs``, which in CLIPPINGS too is for its MLP alone: without layers of a
    head there is nothing else to train. Says what has no counterpart."""
    if args.freeze_clip_epochs and args.embed == "mlp":
        args.lock_image = args.lock_text = True
        args.freeze_epochs = args.freeze_clip_epochs
    elif args.freeze_clip_epochs:
        logging.warning("--freeze_clip_epochs is for --pooling_type mlp; nothing is frozen.")
    if args.train_data_type is not None:
        logging.warning("--train_data_type has no counterpart: --train-data names the data.")


class _ClassNeighbours(argparse.Action):
    def __call__(self, parser, namespace, value, option_string=None) -> None:
        namespace.class_neighbours = value - 1
