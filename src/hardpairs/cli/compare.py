r"""Train one start model with several losses, on the same data, batches and steps, and compare.

    hardpairs compare images --model RN50-quickgelu --pretrained openai --out compared
    hardpairs compare data.csv --csv-group-key label --losses arcface,triplet,clip_ce,supcon \
        --seeds 3 --lr 1e-5 1e-4 --model ViT-B-32 --pretrained start.pt --out compared \
        -- --precision amp --freeze-backbone

DATA is a folder with train/, validation/ and test/ (which may hold query/ and gallery/) of class
folders, or any labeled data, which is split: new labels to choose by, and others to report. Of
several rates the best on validation data is taken for each loss (first seed), and of each run the
best epoch. Writes OUT/comparison.md, .json and .html; without labels of the test images the table
is of the validation data, and there is no page. With --groupname also OUT/submissions/RUN.json of
each run, from test/query and test/gallery. The same command, started again, goes on with what is
missing. Flags after -- go to every run.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, data_options
from hardpairs.core.devices import choose_device
from hardpairs.core.errors import Exit, flags, usage, whole_number
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists, check_weights
from hardpairs.metrics import all_values

DEFAULT_LOSSES = "arcface,triplet,clip_ce,contrastive,supcon"


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line, with the trainer's flags after ``--`` as ``more``."""
    end = argv.index("--") if "--" in argv else len(argv)
    parser = Parser(
        prog="hardpairs compare",
        description="Which loss retrieves best on your labeled images?",
        epilog="Flags after -- go to every run.",
    )
    _add_start(parser)
    _add_runs(parser)
    _add_choice(parser)
    _add_machine(parser)
    add_data_flags(parser)
    args = parse_arguments(parser, "compare", argv[:end])
    args.more = tuple(argv[end + 1 :])
    return args


def _add_start(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "data",
        help="folder with train/, validation/ and test/; or class folders, a CSV or shards, which "
        "are split",
    )
    add("--out", type=Path, required=True, help="folder of the results")
    add("--model", required=True, help="OpenCLIP model")
    add(
        "--pretrained",
        help="its weights, where all losses start (default: those in --model local-dir:FOLDER)",
    )


def _add_runs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--losses", default=DEFAULT_LOSSES, help="losses to compare (default: %(default)s)")
    add("--seeds", type=whole_number(1), default=3, help="runs of each loss (default: %(default)s)")
    add(
        "--lr",
        type=float,
        nargs="+",
        default=[1e-4],
        help="learning rates to try for each loss (default: %(default)s)",
    )
    add(
        "--steps",
        type=whole_number(1),
        default=300,
        help="optimizer steps of each run (default: %(default)s)",
    )
    add(
        "--epochs",
        type=whole_number(1),
        default=10,
        help="evaluations on validation data per run (default: %(default)s)",
    )
    add(
        "--batch-size",
        type=whole_number(2),
        default=64,
        help="rows of all processes together (default: %(default)s)",
    )
    add(
        "--m-per-class",
        type=whole_number(2),
        default=4,
        help="images of each class in a batch (default: %(default)s)",
    )
    add(
        "--flags",
        action="append",
        default=[],
        metavar="LOSS:FLAGS",
        help="more flags for one loss, such as 'arcface:--head-lr 0.01'",
    )


def _add_choice(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--choose-by",
        choices=all_values(needs_labels=True),
        default="mAP",
        help="metric of the validation data, for epoch and rate (default: %(default)s)",
    )
    add(
        "--split-by",
        choices=("label", "row"),
        default="label",
        help="data without parts: test on new labels, or on new rows (default: %(default)s)",
    )
    add("--groupname", help="also write each run's submission to the challenge, under this name")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--processes",
        type=whole_number(1),
        default=1,
        help="of each run, on this machine (default: %(default)s)",
    )
    add("--device", help="default: cuda where there is one, otherwise cpu")


def _flags_by_loss(entries: list[str]) -> dict[str, tuple[str, ...]]:
    own = [entry.partition(":") for entry in entries]
    return {_loss_name(name): tuple(shlex.split(words)) for name, _, words in own}


def _loss_name(name: str) -> str:
    return name.strip().replace("-", "_")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    own_flags = _flags_by_loss(args.flags)
    losses = dict.fromkeys(_loss_name(name) for name in args.losses.split(",") if name.strip())
    _check_losses(losses, own_flags)
    check_exists(args.data)
    check_weights(args.pretrained)
    from hardpairs.models.model_folder import absolute_name, folder_weights, needs_weights

    start = args.pretrained or folder_weights(args.model)
    if start is None:
        with flags(vars(args)):
            raise needs_weights(args.model)
    from hardpairs.comparing.comparison import Candidates, compare_losses, write_comparison
    from hardpairs.comparing.parts import find_parts
    from hardpairs.comparing.runs import Budget
    from hardpairs.comparing.table import markdown
    from hardpairs.models.checkpoint import weights_identity

    out = args.out.absolute()  # runs start in another folder
    with flags(vars(args)):
        budget = Budget(
            model=absolute_name(args.model),
            pretrained=_absolute(start),
            steps=args.steps,
            epochs=args.epochs,
            batch_size=args.batch_size,
            m_per_class=args.m_per_class,
            metric=args.choose_by,
            processes=args.processes,
            device=choose_device(args.device),
            more=args.more,
        )
        parts = find_parts(_absolute(args.data), out, data_options(args), by=args.split_by)
        if not parts.has_answers:
            print(
                "no test query has a known answer: the table will be of the validation data",
                file=sys.stderr,
            )
        identity = weights_identity(budget.pretrained)
        budget = replace(budget, data=parts.fingerprints(), weights=identity)
        candidates = Candidates(tuple(losses), tuple(args.lr), args.seeds, own_flags)
        comparison = compare_losses(parts, budget, candidates, out, group_name=args.groupname or "")
    command = shlex.join(["hardpairs", "compare", *argv])
    write_comparison(comparison, parts, budget, out, command)
    print(markdown(comparison.rows), *comparison.notes, sep="\n")
    return Exit.OK


def _absolute(name: str) -> str:
    return os.path.abspath(name) if os.path.exists(name) else name


def _check_losses(losses: dict[str, None], own_flags: dict[str, tuple[str, ...]]) -> None:
    from hardpairs.losses import LOSSES

    if "helip" in losses:
        raise usage(
            "helip needs hard-pair batches, and these are of classes", fix="--losses without it"
        )
    unknown = [name for name in losses if name not in LOSSES]
    unknown += [name for name in own_flags if name not in losses]
    if unknown or not losses:
        raise usage(
            f"no loss is called {unknown[0] if unknown else '(nothing)'}",
            fix=f"of {', '.join(LOSSES)}",
        )
