"""The published settings of the systems that meet here, by name (``--preset``). What stands on the command line, too, wins."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from hardpairs.training.presets_miniclip import PRESETS_MINICLIP

_CLIPPINGS = (
    "--batch-size",
    "153",
    "--warmup",
    "0",
    "--wd",
    "0.001",
    "--beta2",
    "0.98",
    "--eps",
    "1e-6",
    "--unlabelled",
    "999",
)
_POOLED = (
    *_CLIPPINGS,
    "--embed",
    "pooled",
    "--im-wt",
    "0.3",
    "--batching",
    "m-per-class",
    "--m-per-class",
    "3",
    "--lr",
    "5e-9",
)
_COMPARISON = ("--lr", "1e-4", "--wd", "1e-4", "--warmup", "0")
_TWO_OF_A_CLASS = (
    *_COMPARISON,
    "--embed",
    "image",
    "--batching",
    "m-per-class",
    "--m-per-class",
    "2",
)
PRESETS: dict[str, tuple[str, ...]] = {
    "clippings-pretrain": (
        *_CLIPPINGS,
        "--loss-fn",
        "clip_ce",
        "--batching",
        "random",
        "--lr",
        "5e-6",
    ),
    "clippings-supcon": (*_POOLED, "--loss-fn", "supcon", "--metric-temperature", "0.1"),
    "clippings-contrastive": (
        *_POOLED,
        "--loss-fn",
        "contrastive",
        "--metric-margin",
        "0",
        "--metric-negative-margin",
        "0.5",
    ),
    "lc-arcface": (
        *(
            *_COMPARISON,
            "--loss-fn",
            "arcface",
            "--embed",
            "image",
            "--metric-margin",
            "0.5",
            "--metric-scale",
            "64",
        ),
        *("--batch-size", "128", "--epochs", "40"),
    ),
    "lc-triplet": (
        *(
            *_TWO_OF_A_CLASS,
            "--loss-fn",
            "triplet",
            "--metric-margin",
            "0.2",
            "--batch-size",
            "64",
            "--epochs",
            "45",
        ),
        *("--freeze-backbone", "--projection", "1024", "--head-dropout", "0"),
    ),
    "lc-clip": (
        *(
            "--loss-fn",
            "clip_ce",
            "--lr",
            "1e-6",
            "--head-lr",
            "1e-4",
            "--wd",
            "1e-4",
            "--warmup",
            "0",
            "--beta2",
            "0.98",
            "--eps",
            "1e-6",
        ),
        *("--grad-clip-norm", "1.0", "--freeze-backbone", "--batch-size", "64", "--epochs", "21"),
    ),
    "lc-contrastive": (
        *(*_TWO_OF_A_CLASS, "--loss-fn", "contrastive_squared", "--metric-negative-margin", "0.5"),
        *("--batch-size", "16", "--epochs", "35"),
    ),
    **PRESETS_MINICLIP,
}
"""CLIPPINGS' and the loss comparison's settings. (The loss comparison's optimiser is Adam for two of its losses; here it is OpenCLIP's AdamW with
the same numbers. Its CLIP head is a layer of its own on both towers; here it is the towers' projections.)"""


def add_preset(group: argparse._ArgumentGroup, add: Callable[..., None]) -> None:
    add(
        group,
        "--preset",
        choices=PRESETS,
        action=Preset,
        help="the settings of CLIPPINGS, MiniCLIP or the loss comparison; other flags win",
    )


class Preset(argparse.Action):
    def __call__(self, parser, namespace, value, option_string=None) -> None:
        setattr(namespace, self.dest, value)
        parser.parse_args(list(PRESETS[value]), namespace)
