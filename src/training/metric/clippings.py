"""The names that CLIPPINGS' command line has for what is called otherwise here (dell-research-harvard/clippings, train_clippings.py)."""

from __future__ import annotations

import argparse
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
}
"""Name there: destination here."""


def add_clippings_names(group: argparse._ArgumentGroup) -> None:
    """Adds them, after the flags that they stand for; none has a default of its own."""
    for name, (destination, kind) in SAME.items():
        _add(group, name, destination, type=kind, help=f"--{destination.replace('_', '-')}")
    _add(group, "--pooling_type", "embed", type=_embed, metavar="{mean,mlp}", help="--embed pooled or mlp")
    _add(group, "--augmented_crops", "augment", action="store_const", const="scanned-document", help="--augment scanned-document")
    _add(group, "--freeze_clip_epochs", "freeze_epochs", action=_FreezeClip, type=int, help="--lock-image --lock-text --freeze-epochs N")
    _add(group, "--k", "class_neighbours", action=_ClassNeighbours, type=int, help="--class-neighbours: there k counts the class itself")


def _add(group: argparse._ArgumentGroup, name: str, destination: str, **options: Any) -> None:
    there = any(action.dest == destination for action in group._actions)
    group.add_argument(name, dest=destination, default=group.get_default(destination) if there else argparse.SUPPRESS, **options)


def _embed(name: str) -> str:
    if name not in ("mean", "mlp"):
        raise argparse.ArgumentTypeError(f"must be mean or mlp, not {name!r}")
    return {"mean": "pooled"}.get(name, name)


class _FreezeClip(argparse.Action):
    def __call__(self, parser, namespace, value, option_string=None) -> None:
        if value:
            namespace.lock_image = namespace.lock_text = True
            namespace.freeze_epochs = value


class _ClassNeighbours(argparse.Action):
    def __call__(self, parser, namespace, value, option_string=None) -> None:
        namespace.class_neighbours = value - 1
