"""Show which SANW values affect which share of your pairs.

    hardpairs calibrate EMB [--alpha .5] [--out FOLDER]

SANW's thresholds are similarities, and what counts as similar depends on the encoder and on the
data: of random COCO captions three quarters have a cosine above .3 under ViT-B-32. This draws
random batches from stored embeddings, as training would, and prints the quantiles of their
similarities, the share of negatives that values of delta, m1 and m2 affect, and values to start
with. Into --out go similarities.csv (CLIPSE's columns of its caption analysis, a line each for
text, image and both), shares.csv and similarities.png.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.errors import Exit, usage, whole_number
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="hardpairs calibrate",
        description="Which SANW values affect which share of your pairs.",
    )
    parser.add_argument(
        "embeddings", metavar="EMB", help="folder of hardpairs embed or clip-retrieval"
    )
    parser.add_argument(
        "--alpha", type=float, default=0.5, help="share of text similarity, as --sanw-alpha"
    )
    parser.add_argument("--batch-size", type=whole_number(2), default=256, help="rows of a batch")
    parser.add_argument("--batches", type=whole_number(1), default=50)
    parser.add_argument("--seed", type=whole_number(0), default=0)
    parser.add_argument("--out", type=Path, help="folder for the tables and the plot")
    args = parse_arguments(parser, "calibrate", argv)
    if not 0 <= args.alpha <= 1:
        raise usage(f"--alpha must lie in [0, 1], not {args.alpha}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parse(argv)
    check_exists(args.embeddings, "folder")
    from hardpairs.reporting.calibration import calibrate, terminal_text, write_calibration

    calibration = calibrate(
        args.embeddings,
        alpha=args.alpha,
        batch_size=args.batch_size,
        batches=args.batches,
        seed=args.seed,
    )
    print(terminal_text(calibration))
    print(_flags(calibration.values, args.alpha))
    if args.out is not None:
        write_calibration(args.out, calibration)
        print(f"tables and plot: {args.out}", file=sys.stderr)
    return Exit.OK


def _flags(values: dict[str, float], alpha: float) -> str:
    """Return the flags of training to start with."""
    loss = {name: f"{value:.3g}" for name, value in values.items()}
    return (
        "\nto start with, debias (weighs down the most similar twentieth):\n"
        f"  --loss-fn sanw_debias --sanw-alpha {alpha:g} --sanw-delta {loss['delta']}"
        f" --sanw-lambda {loss['lambda']}\n"
        "bandpass (from the upper quarter to the most similar hundredth):\n"
        f"  --loss-fn sanw_bandpass --sanw-alpha {alpha:g} --sanw-m1 {loss['m1']}"
        f" --sanw-m2 {loss['m2']} --sanw-gamma {loss['gamma']}"
    )
