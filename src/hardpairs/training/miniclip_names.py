"""The names that MiniCLIP's command line has for what is called otherwise here: what its users type starts the same training."""

from __future__ import annotations

import argparse

SAME = {"--checkpoint_dir": ("logs", str)}
"""Name there: destination here. (``--batch_size`` is CLIPPINGS' name, too.)"""
MODEL_TYPES = ("lstm", "transformer")
RESULTS_DIR = "--results_dir has no counterpart: results lie in the run's folder below --logs, and tools.evaluate writes to its --out"


def add_miniclip_names(group: argparse._ArgumentGroup, presets: type[argparse.Action]) -> None:
    """Adds them, after the flags that they stand for; none has a default of its own. ``presets`` is the action of ``--preset``."""
    for name, (destination, kind) in SAME.items():
        there = any(action.dest == destination for action in group._actions)
        default = group.get_default(destination) if there else argparse.SUPPRESS
        group.add_argument(
            name,
            dest=destination,
            default=default,
            type=kind,
            help=f"--{destination.replace('_', '-')}",
        )
    group.add_argument(
        "--model_type",
        dest="preset",
        type=_preset,
        action=presets,
        metavar="{lstm,transformer}",
        help="--preset miniclip-...",
    )
    group.add_argument("--results_dir", help="passed over: results lie in the run's folder")


def _preset(name: str) -> str:
    if name not in MODEL_TYPES:
        raise argparse.ArgumentTypeError(f"must be {' or '.join(MODEL_TYPES)}, not {name!r}")
    return f"miniclip-{name}"
