r"""Show the batches that a training command would train on, without training.

    hardpairs inspect batches --out batches.html --train-data pairs.csv --csv-separator , \
        --use-hard --hard-dict-dir OUT/pairs_hard_sample.csv --batch-size 64 --embeddings EMB

Prints counts and similarities, and draws some batches on one offline page. Takes all flags of
``training.main`` and reads those that matter for the batches, so that a training command can be
given as it is.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from hardpairs.cli.training_flags import parse_training_flags
from hardpairs.core.atomic import write_text
from hardpairs.core.errors import Exit, whole_number
from hardpairs.core.parser import Parser


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return our flags, and those of training as they stand."""
    parser = Parser(
        prog="hardpairs inspect batches",
        description="Show the batches that a training command would train on.",
        epilog="All other flags are those of hardpairs train.",
        allow_abbrev=False,
    )
    parser.add_argument("--out", required=True, type=Path, help="the page")
    parser.add_argument(
        "--embeddings", help="stored embeddings, for similarities of a batch's rows"
    )
    parser.add_argument(
        "--processes",
        type=whole_number(1),
        default=1,
        help="processes of the training run; --batch-size is that of one",
    )
    parser.add_argument(
        "--epoch", type=whole_number(0), default=0, help="pass over the data to look at, from 0"
    )
    parser.add_argument("--shown", type=whole_number(1), default=4, help="batches that are drawn")
    return parser.parse_known_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    args, training_argv = _parse(argv)
    options = parse_training_flags(training_argv)
    from hardpairs.reporting.batch_page import make_page, render, terminal_text

    page = make_page(
        options,
        command=shlex.join(["hardpairs", "inspect", "batches", *argv]),
        embeddings=args.embeddings,
        processes=args.processes,
        epoch=args.epoch,
        shown=args.shown,
    )
    write_text(args.out, render(page))
    print(terminal_text(page))
    print(f"\npage: {args.out}")
    return Exit.OK
