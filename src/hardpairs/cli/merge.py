"""Average the weights of a start model and its tuned one, by a share that validation data chooses.

    hardpairs merge START.pt logs/x/checkpoints/epoch_5.pt --model ViT-B-32 --val-data val.csv \
        [--watch imagenet/val] --out merged.pt

Tuning gains on the new data and loses what the start model could do. The average of the weights
often keeps most of both (WiSE-FT, arXiv 2109.01903). Each share is measured on the validation data
and, beside it, on a second data set; the best one on validation data is written. Numbers are the
mean R@1 of both directions, or the top-1 accuracy of class folders. stdout is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.errors import Exit, usage, whole_number
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists, check_weights

if TYPE_CHECKING:
    from hardpairs.models.load import Encoder
    from hardpairs.training.watch import Watch

ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="hardpairs merge",
        description="Average the weights of a start model and its tuned one.",
    )
    parser.add_argument("start", metavar="START", help="checkpoint or OpenCLIP tag of the start")
    parser.add_argument("end", metavar="END", help="checkpoint of the tuned model")
    parser.add_argument("--model", required=True)
    parser.add_argument(
        "--alpha",
        nargs="+",
        type=_share,
        default=ALPHAS,
        metavar="X",
        help=f"shares of END to try (default: {' '.join(map(str, ALPHAS))})",
    )
    parser.add_argument("--val-data", required=True, help="pairs or class folders that choose")
    parser.add_argument("--watch", metavar="DATA", help="what START could do: measured beside it")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the checkpoint")
    add_data_flags(parser)
    parser.add_argument("--batch-size", type=whole_number(1), default=256)
    parser.add_argument("--workers", type=whole_number(0), default=2)
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    return parse_arguments(parser, "merge", argv)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must lie in [0, 1], not {text}")
    return share


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parse(argv)
    check_weights(args.start)
    check_weights(args.end)
    for source in filter(None, (args.val_data, args.watch)):
        check_exists(source)
    if args.out.is_dir():
        raise usage("--out is a folder", where=str(args.out), fix="a file name, such as merged.pt")
    import torch

    from hardpairs.evaluating.merging import best_of, measure_merges, write_merged
    from hardpairs.models.checkpoint import checkpoint_weights, weights_identity
    from hardpairs.models.load import load_encoder
    from hardpairs.models.merge import merge

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    encoder = load_encoder(args.model, args.end, device=device)
    start = load_encoder(args.model, args.start).model.state_dict()
    end = checkpoint_weights(args.end)
    merge(start, end, 0)  # refuses other architectures before anything is measured
    validation = _measured_on(args.val_data, args, encoder, device)
    watch = _measured_on(args.watch, args, encoder, device) if args.watch else None
    measured = []
    for one in measure_merges(
        encoder.model, start, end, sorted(set(args.alpha)), validation, watch
    ):
        beside = "" if one.watch is None else f", watch {one.watch:.4f}"
        print(f"alpha {one.alpha:g}: validation {one.validation:.4f}{beside}", file=sys.stderr)
        measured.append(one)
    best = best_of(measured)
    record = {
        "model": args.model,
        "start": weights_identity(args.start),
        "end": weights_identity(args.end),
        "val_data": args.val_data,
        "watch": args.watch,
        "alpha": best.alpha,
        "measured": [dataclasses.asdict(one) for one in measured],
    }
    write_merged(args.out, args.end, merge(start, end, best.alpha), record)
    print(json.dumps(record))
    print(f"merged weights, alpha {best.alpha:g}: {args.out}", file=sys.stderr)
    return Exit.OK


def _measured_on(source: str, args: argparse.Namespace, encoder: Encoder, device: str) -> Watch:
    import contextlib

    from hardpairs.training.measuring import Inference
    from hardpairs.training.watch import Watch

    return Watch(
        open_named(source, args),
        encoder.transform,
        encoder.tokenizer,
        batch_size=args.batch_size,
        workers=args.workers,
        inference=Inference(device, None, contextlib.nullcontext),
    )
