"""Trains one start model with several losses, on the same data, batches and steps, and says which retrieves best.

    python -m tools.compare_losses pictures --model RN50-quickgelu --pretrained openai --out compared
    python -m tools.compare_losses data.csv --csv-label-key label --losses arcface,triplet,clip_ce,contrastive,supcon --seeds 3 --lr 1e-5 1e-4 \\
        --model ViT-B-32 --pretrained start.pt --out compared -- --precision amp --freeze-backbone

DATA is a folder with train/, validation/ and test/ (which may hold query/ and gallery/) of class folders, or any labelled data, which is split: new
labels to choose by, and others to report. Of several rates the best on validation data is taken for each loss (first seed), and of each run the best
epoch. Writes OUT/comparison.md, .json and .html; without labels of the test pictures the table is of the validation data, and there is no page. With
``--groupname`` also OUT/submissions/RUN.json of each run, from test/query and test/gallery. Started again, it goes on with what is missing. Flags
after -- go to every run.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags
from hardpairs.cli.retrieve import names_of, retrieve, submission
from hardpairs.comparing.measure import Measured, measure
from hardpairs.comparing.parts import Parts, find_parts
from hardpairs.comparing.runs import START, Budget, Plan, curve, is_done, train
from hardpairs.comparing.table import COLUMNS, Row, chosen, markdown, rows_of
from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import Exit, UserError, usage, whole_number
from hardpairs.losses import LOSSES
from hardpairs.metrics.base import all_values
from hardpairs.models.checkpoint import weights_identity

DEFAULT = "arcface,triplet,clip_ce,contrastive,supcon"


def parse_args(argv: list[str]) -> argparse.Namespace:
    ours, more = (
        (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    )
    parser = argparse.ArgumentParser(
        prog="hardpairs compare",
        description="Which loss retrieves best on your labelled pictures?",
    )
    parser.add_argument(
        "data",
        help="folder with train/, validation/, test/; or class folders, a CSV or shards, which are split",
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", required=True, help="OpenCLIP model")
    parser.add_argument("--pretrained", required=True, help="its weights: where all losses start")
    parser.add_argument("--losses", default=DEFAULT, help="default: %(default)s")
    parser.add_argument(
        "--seeds", type=whole_number(1), default=3, help="runs of each loss (default: %(default)s)"
    )
    parser.add_argument(
        "--lr", type=float, nargs="+", default=[1e-4], help="learning rates to try for each loss"
    )
    parser.add_argument(
        "--steps",
        type=whole_number(1),
        default=300,
        help="optimizer steps of each run (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        type=whole_number(1),
        default=10,
        help="looks at the validation data, as many per run (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=whole_number(2),
        default=64,
        help="rows of all processes together (default: %(default)s)",
    )
    parser.add_argument(
        "--m-per-class",
        type=whole_number(2),
        default=4,
        help="pictures of each class in a batch (default: %(default)s)",
    )
    parser.add_argument(
        "--choose-by",
        choices=all_values(needs_labels=True),
        default="mAP",
        help="of the validation data, for epoch and rate (default: %(default)s)",
    )
    parser.add_argument(
        "--split-by",
        choices=("label", "row"),
        default="label",
        help="data without parts: test on new labels, or on new rows",
    )
    parser.add_argument(
        "--flags",
        action="append",
        default=[],
        metavar="LOSS:FLAGS",
        help="more flags for one loss, such as 'arcface:--head-lr 0.01'",
    )
    parser.add_argument(
        "--groupname", help="also write each run's submission to the challenge, under this name"
    )
    parser.add_argument(
        "--processes", type=whole_number(1), default=1, help="of each run, on this machine"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add_data_flags(parser)
    args = parse_arguments(parser, "compare", ours)
    args.more = tuple(more)
    own = [entry.partition(":") for entry in args.flags]
    args.flags = {
        name.strip().replace("-", "_"): tuple(shlex.split(flags)) for name, _, flags in own
    }
    args.losses = list(
        dict.fromkeys(
            name.strip().replace("-", "_") for name in args.losses.split(",") if name.strip()
        )
    )
    unknown = [name for name in args.losses if name not in LOSSES] + [
        name for name in args.flags if name not in args.losses
    ]
    if "helip" in args.losses:
        raise usage(
            "helip needs hard-pair batches, and these are of classes", fix="--losses without it"
        )
    if unknown or not args.losses:
        raise usage(
            f"no loss is called {unknown[0] if unknown else '(nothing)'}",
            fix=f"of {', '.join(LOSSES)}",
        )
    if args.steps % args.epochs:
        raise usage(
            f"--steps {args.steps} cannot be cut into {args.epochs} equal parts",
            fix=f"--steps {args.steps // args.epochs * args.epochs or args.epochs}",
        )
    if args.batch_size % (args.m_per_class * args.processes):
        raise usage(
            f"--batch-size {args.batch_size} does not hold whole groups of {args.m_per_class} on {args.processes} processes"
        )
    return args


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    keys = {
        "separator": args.csv_separator,
        "image_key": args.csv_img_key,
        "caption_key": args.csv_caption_key,
        "group_key": args.csv_group_key,
    }
    args.out = args.out.absolute()  # runs start in another folder
    args.pretrained = (
        os.path.abspath(args.pretrained) if os.path.exists(args.pretrained) else args.pretrained
    )
    parts = find_parts(
        os.path.abspath(args.data) if os.path.exists(args.data) else args.data,
        args.out,
        {**keys, "unlabelled": args.unlabelled},
        by=args.split_by,
    )
    if args.groupname and parts.query is None:
        raise usage(
            "--groupname asks for submissions, and there is no test/query to make them of",
            where=args.data,
            fix="leave it out",
        )
    for part in ("query", "test") if args.groupname else ():
        names_of(parts.open(part))  # pictures of one name are refused before anything is trained
    if not parts.has_answers:
        print(
            "no test query has a known answer: the table will be of the validation data",
            file=sys.stderr,
        )
    budget = Budget(
        *(
            args.model,
            args.pretrained,
            args.steps,
            args.epochs,
            args.batch_size,
            args.m_per_class,
            args.choose_by,
            args.processes,
        ),
        *(args.device, args.more, parts.fingerprints(), weights_identity(args.pretrained)),
    )
    plans, failed = _train_all(args, parts, budget)
    measured = {START: [_measured(args, parts, args.pretrained, START)]}
    measured |= {
        loss: [_measured(args, parts, str(plan.best), plan.name) for plan in found]
        for loss, found in plans.items()
    }
    if args.groupname:
        _submit(
            args,
            parts,
            {
                START: args.pretrained,
                **{plan.name: str(plan.best) for found in plans.values() for plan in found},
            },
        )
    rows = rows_of(
        measured,
        {loss: found[0].rate for loss, found in plans.items()},
        {
            loss: tuple(_best_epoch(plan, budget.metric) for plan in found)
            for loss, found in plans.items()
        },
        {
            loss: float(np.mean([_best(plan, budget.metric) for plan in found]))
            for loss, found in plans.items()
        },
    )
    told = _told(rows, parts, budget, failed)
    _write(
        args,
        parts,
        rows,
        plans,
        measured,
        budget,
        told,
        failed,
        shlex.join(["python", "-m", "tools.compare_losses", *argv]),
    )
    print(markdown(rows), *told, sep="\n")
    return Exit.OK


def _train_all(
    args: argparse.Namespace, parts: Parts, budget: Budget
) -> tuple[dict[str, list[Plan]], dict[str, str]]:
    """The runs of each loss, and why a loss has none: one that is not finite is out, and the others go on.

    Raises:
        UserError: exit 6 when no loss is left; what else a run fails with.
    """
    plans, failed, failure = {}, {}, None
    for loss in args.losses:
        try:
            plans[loss] = _runs_of(loss, args, parts, budget)
        except UserError as error:
            if error.code != Exit.NON_FINITE:
                raise
            failure, failed[loss] = error, error.what
            print(f"{loss}: failed, the others go on", file=sys.stderr)
    if failure is not None and not plans:
        raise failure
    return plans, failed


def _runs_of(loss: str, args: argparse.Namespace, parts: Parts, budget: Budget) -> list[Plan]:
    """The runs at the rate that validation data chooses, one for each seed; makes those that are missing."""
    own = args.flags.get(loss, ())
    tried = _tried([Plan(loss, rate, 0, args.out, own) for rate in args.lr], parts, budget)
    best = max(tried, key=lambda plan: _best(plan, budget.metric))
    return [
        best,
        *(
            _made(Plan(loss, best.rate, seed, args.out, own), parts, budget)
            for seed in range(1, args.seeds)
        ),
    ]


def _tried(plans: list[Plan], parts: Parts, budget: Budget) -> list[Plan]:
    """The runs that came to an end; a rate with which the loss is not finite is out, unless no other is left."""
    done, failure = [], None
    for plan in plans:
        try:
            done.append(_made(plan, parts, budget))
        except UserError as error:
            if error.code != Exit.NON_FINITE:
                raise
            failure = error
            print(f"{plan.name}: not finite, left out", file=sys.stderr)
    if failure is not None and not done:
        raise failure
    return done


def _made(plan: Plan, parts: Parts, budget: Budget) -> Plan:
    if not is_done(plan, budget):
        print(f"{plan.name}: training", file=sys.stderr)
        train(plan, parts, budget)
    print(
        f"{plan.name}: {budget.metric} {_best(plan, budget.metric):.4f} on validation data, epoch {_best_epoch(plan, budget.metric)}",
        file=sys.stderr,
    )
    return plan


def _best(plan: Plan, metric: str) -> float:
    return max(value for _, value in curve(plan, metric))


def _best_epoch(plan: Plan, metric: str) -> int:
    return max(curve(plan, metric), key=lambda point: (point[1], -point[0]))[0]


def _measured(args: argparse.Namespace, parts: Parts, weights: str, name: str) -> Measured:
    """What a checkpoint finds, kept in OUT/measured; the start model's is made anew."""
    place = args.out / f"measured/{name}.npz"
    if (
        not place.is_file() or name == START
    ):  # little work, and nothing else says what it was made of
        measure(
            args.model, weights, parts.open("validation"), *parts.reported(), device=args.device
        ).save(place)
    return Measured.load(place)


def _submit(args: argparse.Namespace, parts: Parts, weights: dict[str, str]) -> None:
    """Writes the submission of each of the weights, by name of the run."""
    query, gallery = parts.open("query"), parts.open("test")
    for name, checkpoint in weights.items():
        found = retrieve(
            query, gallery, model=args.model, pretrained=checkpoint, device=args.device
        ).found
        write_json(args.out / f"submissions/{name}.json", submission(found, args.groupname))
    print(f"submissions: {args.out / 'submissions'}", file=sys.stderr)


def _told(rows: list[Row], parts: Parts, budget: Budget, failed: dict[str, str]) -> list[str]:
    """What stands below the table."""
    best = chosen(rows)
    lines = [
        f"By {budget.metric} on the validation data {best.loss} is the best ({100 * best.validation:.1f} %)."
    ]
    if not parts.has_answers:
        lines.append(
            "No test query has a known answer: the table is of the validation data, which rates and epochs were chosen by."
        )
    return [*lines, *(f"{loss} is not in the table: {why}" for loss, why in failed.items())]


def _write(
    args: argparse.Namespace,
    parts: Parts,
    rows: list[Row],
    plans: dict[str, list[Plan]],
    measured: dict[str, list[Measured]],
    budget: Budget,
    told: list[str],
    failed: dict[str, str],
    command: str,
) -> None:
    from hardpairs.comparing.page import losses_page
    from hardpairs.pages.template import render_template

    record = [
        {
            "loss": row.loss,
            "seeds": row.seeds,
            "rate": row.rate,
            "p": row.p,
            "epochs": list(row.epochs),
            "validation": row.validation,
            **{
                name: {"mean": _number(row.mean[name]), "sd": _number(row.spread[name])}
                for name in COLUMNS
            },
        }
        for row in rows
    ]
    facts = {
        "measured_on": "test" if parts.has_answers else "validation",
        "chosen": chosen(rows).loss,
        "failed": failed,
        "queries": len(measured[START][0].rows),
        "command": command,
    }
    write_json(args.out / "comparison.json", {"losses": record, **facts})
    write_text(args.out / "comparison.md", "\n".join([markdown(rows), *told, ""]))
    if parts.has_answers:  # the page is about test queries
        curves = {
            loss: [curve(plan, budget.metric) for plan in found] for loss, found in plans.items()
        }
        gallery, query = parts.reported()
        page = losses_page(rows, curves, budget, measured, query or gallery, gallery, command)
        page = replace(page, sentences=[*page.sentences, *told])
        write_text(args.out / "comparison.html", render_template("losses.html.j2", page=page))
        print(f"page: {args.out / 'comparison.html'}", file=sys.stderr)
    print(json.dumps({row.loss: round(row.mean["mAP"], 4) for row in rows}), file=sys.stderr)


def _number(value: float) -> float | None:
    """For JSON, which has no NaN: a gallery of one picture for each label has no ARI."""
    return None if np.isnan(value) else value
