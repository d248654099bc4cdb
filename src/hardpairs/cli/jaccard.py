"""Link near-duplicate texts by shared words: a baseline for ``hardpairs link``.

    hardpairs jaccard --data news.csv --csv-group-key label --out jaccard
    hardpairs jaccard --data news.csv --n 3 --threshold 0.1 --out jaccard

Without --n and --threshold they are the best of CLIPPINGS' grid on a part of the labels, and the
agreement that is reported comes from the others, as in hardpairs link. Writes OUT/clusters.csv,
OUT/links.csv and OUT/jaccard.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.errors import Exit, flags, whole_number
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(
        prog="hardpairs jaccard",
        description="Link near-duplicate texts by shared n-grams of words.",
    )
    add = parser.add_argument
    add("--data", required=True, help="CSV, shards or captions.json")
    add("--out", type=Path, required=True, help="folder of the results")
    add("--n", type=whole_number(1), help="words of an n-gram")
    add("--threshold", type=float, help="least share of n-grams in common")
    add(
        "--same-source",
        help="pattern whose first group names a row's source in its key; rows of one source are "
        "never linked",
    )
    add("--val-share", type=float, default=0.4, help="share of the labels that choose")
    add(
        "--protocol",
        choices=("parts", "joint"),
        default="parts",
        help="parts: the rows that choose and the rows that are reported are linked apart, as in "
        "CLIPPINGS; joint: all together (default: %(default)s)",
    )
    add(
        "--word-rule",
        choices=("unicode", "printed"),
        default="unicode",
        help="unicode: words of every alphabet; printed: CLIPPINGS' cleaning, which deletes what "
        "is not ASCII from words with ASCII in them (default: %(default)s)",
    )
    add("--seed", type=whole_number(0), default=42, help="seed of the split of the labels")
    add_data_flags(parser)
    return parse_arguments(parser, "jaccard", argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = parse_args(argv)
    check_exists(args.data)
    from hardpairs.linking.words import link_by_words

    with flags(vars(args)):
        record = link_by_words(
            open_named(args.data, args),
            args.out,
            n=args.n,
            threshold=args.threshold,
            same_source=args.same_source,
            validation_share=args.val_share,
            seed=args.seed,
            protocol=args.protocol,
            rule=args.word_rule,
        )
    print(json.dumps(record))
    print(f"links: {args.out / 'links.csv'}", file=sys.stderr)
    return Exit.OK
