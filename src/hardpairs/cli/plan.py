"""Predict what embedding, mining and training cost, from constants measured on this machine.

    hardpairs plan --calibrate --model ViT-B-32
    hardpairs plan --rows 2900000 --dims 512 512 --devices 1 8 64 --approximate

The calibration takes about two minutes on an idle machine. A device is one process with as many
threads as the calibration had (OMP_NUM_THREADS).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.errors import Exit, byte_count, flags, usage, whole_number
from hardpairs.core.parser import Parser

if TYPE_CHECKING:
    from hardpairs.planning.cost import Cost
    from hardpairs.planning.machine import Machine


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="hardpairs plan",
        description="Predict time, memory, disk and network of embed, mine and train.",
    )
    add = parser.add_argument
    add("--calibrate", action="store_true", help="measure the constants of this machine")
    add("--out", type=Path, metavar="FILE", help="where they go (a file in the user's cache)")
    add("--model", help="OpenCLIP's name of a model to measure, for embed and train")
    add("--machine", type=Path, metavar="FILE", help="the constants (those in the user's cache)")
    add("--rows", type=whole_number(1), metavar="N", help="image-text pairs")
    add("--dims", type=whole_number(1), nargs=2, metavar="D", help="of image and text embeddings")
    add(
        "--devices",
        type=whole_number(1),
        nargs="+",
        default=[1],
        metavar="P",
        help="numbers of processes (1)",
    )
    add("--approximate", action="store_true", help="predict mine --candidates ivf, too")
    add(
        "--compared",
        type=float,
        metavar="SHARE",
        help="share of the pairs that ivf compares: manifest.json of a table on part of the data "
        "has it under clusters (that of the calibration's made data)",
    )
    add("--max-memory", type=byte_count, help="of a process, such as 8G (half of what was free)")
    counts = (
        ("--topk", 1, 50, "hard pairs of a row"),
        ("--batch-size", 1, 64, "rows of a training batch in each process"),
        ("--epochs", 1, 1, "epochs of training"),
        ("--hard-per-target", 0, 1, "hard pairs that follow a target in its batch"),
        ("--image-bytes", 0, 0, "size of an image file; 0 leaves reading them out"),
    )
    for name, least, default, text in counts:
        add(name, type=whole_number(least), default=default, help=f"{text} (%(default)s)")
    add("--json", action="store_true", help="print JSON")
    args = parse_arguments(parser, "plan", argv)
    _check(args)
    return args


def _check(args: argparse.Namespace) -> None:
    if args.calibrate:
        if args.rows is not None:
            raise usage(
                "--calibrate measures, --rows predicts", fix="do one after the other, two commands"
            )
        return
    missing = [name for name in ("rows", "dims") if getattr(args, name) is None]
    if missing:
        raise usage(
            f"--{' and --'.join(missing)} missing",
            fix="such as: hardpairs plan --rows 2900000 --dims 512 512",
        )
    for name in ("out", "model"):
        if getattr(args, name) is not None:
            raise usage(f"--{name} belongs to --calibrate", fix=f"leave --{name} out")
    if args.compared is not None and not 0 < args.compared <= 1:
        raise usage(f"--compared must lie in (0, 1], not {args.compared:g}")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parse(argv)
    if args.calibrate:
        _calibrate(args)
        return Exit.OK
    from hardpairs.planning.machine import open_machine

    machine = open_machine(args.machine)
    costs = _costs(machine, args)
    if args.json:
        print(json.dumps([{**dataclasses.asdict(c), "seconds": c.seconds} for c in costs]))
    else:
        _print(machine, costs, args)
    return Exit.OK


def _calibrate(args: argparse.Namespace) -> None:
    from hardpairs.planning.calibrate import calibrate
    from hardpairs.planning.machine import default_path

    out = args.out or default_path()
    out.parent.mkdir(parents=True, exist_ok=True)
    with flags(vars(args)):
        calibrate(out.parent, model=args.model).save(out)
    print(f"constants of this machine: {out}", file=sys.stderr)


def _costs(machine: Machine, args: argparse.Namespace) -> list[Cost]:
    from hardpairs.planning.embedding_cost import embedding_cost
    from hardpairs.planning.mining_cost import mining_cost
    from hardpairs.planning.training_cost import Run, training_cost

    rows, numbers = args.rows, list(dict.fromkeys(args.devices))
    costs = []
    if machine.encoder is not None:
        images = {"image_bytes": args.image_bytes}
        costs += [embedding_cost(machine, rows, processes=p, **images) for p in numbers]
    limits = {"max_memory": args.max_memory, "top_k": args.topk}
    shares = [1.0]
    if args.approximate:
        shares.append(machine.mining.compared if args.compared is None else args.compared)
    for share in shares:
        costs += [
            mining_cost(machine, rows, args.dims, processes=p, share=share, **limits)
            for p in numbers
        ]
    if machine.encoder is not None:
        run = Run(args.batch_size, args.epochs, args.hard_per_target)
        costs += [training_cost(machine, rows, run, processes=p) for p in numbers]
    return costs


def _print(machine: Machine, costs: list[Cost], args: argparse.Namespace) -> None:
    from hardpairs.planning.table import cost_table

    print(cost_table(costs))
    known = machine.description
    print(
        f"measured on {known.get('date')}, {known.get('processor')}, {machine.threads} threads of "
        "a process; memory and sent are of one process, the rest of all",
        file=sys.stderr,
    )
    if machine.encoder is None:
        print("embed and train are left out: calibrate with --model to have them", file=sys.stderr)
    if args.approximate and args.compared is None:
        rates = machine.mining
        print(
            f"ivf is taken to compare {rates.compared:.1%} of the pairs, as on "
            f"{rates.compared_rows} made rows; --compared takes your data's",
            file=sys.stderr,
        )
