"""Say what a model can still learn from its pairs, before it is trained further.

    hardpairs check-ready data.csv --embeddings EMB --batch-size 256
    hardpairs check-ready data.csv --embeddings EMB --hard-pairs mined/pairs.csv --run logs/base

EMB holds the pairs as the model embeds them (hardpairs embed). The last line is advice.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.errors import Exit, whole_number
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists

if TYPE_CHECKING:
    from hardpairs.training.readiness import Readiness


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="hardpairs check-ready",
        description="What can the model still learn from these pairs?",
    )
    add = parser.add_argument
    add("data", help="table, shards or folder of image-text pairs")
    add("--embeddings", required=True, help="their embeddings by the model, of hardpairs embed")
    add(
        "--batch-size",
        type=whole_number(2),
        default=256,
        help="rows of a global batch (default: %(default)s)",
    )
    add("--hard-pairs", metavar="PATH", help="their hard pairs: CSV, JSON, or a table's folder")
    add("--run", type=Path, metavar="FOLDER", help="the run that made the model, LOGS/NAME")
    add("--json", action="store_true", help="print JSON")
    add_data_flags(parser)
    return parse_arguments(parser, "check-ready", argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parse(argv)
    for path in filter(None, (args.data, args.embeddings, args.hard_pairs, args.run)):
        check_exists(path)
    from hardpairs.batches.sources import open_stored_embeddings, open_table
    from hardpairs.training.readiness import readiness

    samples = open_named(args.data, args)
    table = None if args.hard_pairs is None else open_table(args.hard_pairs, samples)
    embeddings = open_stored_embeddings(args.embeddings, samples, allow_remote=args.allow_remote)
    facts = readiness(embeddings, args.batch_size, table=table, run=args.run)
    if args.json:
        print(json.dumps({**dataclasses.asdict(facts), "advice": facts.advice()}))
    else:
        print(_text(facts))
    return Exit.OK


def _text(facts: Readiness) -> str:
    """Return the facts, one on a line, and the advice."""
    lines = [
        ("pairs", f"{facts.num_pairs:,}"),
        ("rows of a batch", f"{facts.batch_size:,}"),
        ("solved among the rows of a batch", _percent(facts.solved_in_batch)),
        ("solved among all pairs", _percent(facts.solved)),
        ("batches that hold one of a pair's ten hardest", _percent(facts.meets_hardest)),
        ("hard pairs that look or read alike", _percent(facts.look_alikes)),
        (
            "validation still rising",
            {None: "not known", True: "yes", False: "no"}[facts.still_rising],
        ),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join([*(f"{name:<{width}}  {value}" for name, value in lines), facts.advice()])


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:.1f} %"
