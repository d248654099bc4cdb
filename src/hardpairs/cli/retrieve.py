r"""Find the nearest gallery images of each query image.

    hardpairs retrieve --query test/query --gallery test/gallery --model ViT-B-32 \
        --pretrained epoch_5.pt --out results
    hardpairs retrieve --query val.csv --gallery gallery.csv --csv-group-key label \
        --model RN50-quickgelu --pretrained openai --out results --metric euclidean

Query and gallery are folders of images (class folders are labels), CSVs or shards. Writes
OUT/retrieved.json, {query: [gallery names]}, best first; with --groupname OUT/submission.json, the
body that the challenge's server takes; with labels on both sides OUT/retrieval.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.devices import choose_device
from hardpairs.core.errors import Exit, flags, whole_number
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_weights


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(
        prog="hardpairs retrieve",
        description="Find the nearest gallery images of each query image.",
    )
    add = parser.add_argument
    add("--query", required=True, help="folder of images, CSV or shards")
    add("--gallery", required=True, help="folder of images, CSV or shards")
    add("--out", type=Path, required=True, help="folder of the results")
    add("--model", required=True, help="OpenCLIP model, or local-dir:FOLDER with its weights")
    add("--pretrained", help="checkpoint file or OpenCLIP tag")
    add(
        "--head",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="use the layers that metric learning put behind the image tower",
    )
    add("--k", type=whole_number(1), default=10, help="images of each query")
    add(
        "--metric",
        choices=("cosine", "euclidean"),
        default="cosine",
        help="of unit rows: both give one order",
    )
    add("--groupname", help="also write the challenge's submission, under this name")
    add(
        "--score-weights",
        type=float,
        nargs=3,
        metavar=("TOP1", "TOP5", "TOP10"),
        help="points of the score (default: 600 300 100)",
    )
    add("--batch-size", type=whole_number(1), default=256)
    add("--workers", type=whole_number(0), default=2)
    add("--device", help="default: cuda where there is one, otherwise cpu")
    add_data_flags(parser)
    return parse_arguments(parser, "retrieve", argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = parse_args(argv)
    check_weights(args.pretrained)
    with flags(vars(args)):
        query, gallery = open_named(args.query, args), open_named(args.gallery, args)
    from hardpairs.core.atomic import write_json
    from hardpairs.evaluating.gallery import retrieve, submission
    from hardpairs.metrics.gallery import SCORE_WEIGHTS

    with flags(vars(args)):
        result = retrieve(
            query,
            gallery,
            model=args.model,
            pretrained=args.pretrained,
            head=args.head,
            k=args.k,
            euclidean=args.metric == "euclidean",
            batch_size=args.batch_size,
            workers=args.workers,
            device=choose_device(args.device),
        )
    write_json(args.out / "retrieved.json", result.nearest)
    if args.groupname:
        write_json(args.out / "submission.json", submission(result.nearest, args.groupname))
    weights = args.score_weights or SCORE_WEIGHTS.values()
    numbers = result.numbers(dict(zip(SCORE_WEIGHTS, weights, strict=True)))
    if result.has_labels:
        write_json(args.out / "retrieval.json", numbers)
    print(json.dumps(numbers))
    print(f"retrieved: {args.out / 'retrieved.json'}", file=sys.stderr)
    return Exit.OK
