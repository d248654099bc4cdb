"""Evaluates a model: retrieval on held-out pairs, zero-shot classes, a linear probe.

    python -m tools.evaluate --model ViT-B-32 --pretrained epoch_5.pt --data test.csv --out runs/x [--hard-pairs OUT/test_hard_sample.csv]
    python -m tools.evaluate --model ViT-B-32 --pretrained epoch_5.pt --data test.csv --baselines --protocol both --out runs/x
    python -m tools.evaluate --model ViT-B-32 --pretrained epoch_5.pt --zero-shot imagenet/val --linear-probe flowers --out runs/x

Writes into OUT: evaluation.json, evaluation.csv, evaluation.md, queries.npz (what each query found, for reports and paired tests) and drawn.npz
(a few embeddings, for plots), and one line into run_registry.csv beside OUT. Shares are fractions; in MiniCLIP's protocol, percent.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.atomic import write_json
from hardpairs.core.errors import Exit, usage, whole_number
from hardpairs.data.hard_pairs import HardPairTable, open_hard_pairs
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.samples import Samples
from hardpairs.embedding.embed import embed
from hardpairs.evaluating.baselines import baselines, miniclip
from hardpairs.evaluating.classes import Options, probe, read_prompts, zero_shot
from hardpairs.evaluating.drawn import drawn, write_drawn
from hardpairs.evaluating.results import register, write_miniclip, write_results
from hardpairs.evaluating.retrieval import evaluate
from hardpairs.evaluating.tables import tables
from hardpairs.metrics.retrieval import TIES
from hardpairs.models.encoders import from_encoder
from hardpairs.models.load import Encoder, load_encoder
from hardpairs.pages.numbers import reasons_text

PROTOCOLS = ("ours", "miniclip", "both")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs evaluate",
        description="Evaluate a model's retrieval on held-out pairs.",
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--pretrained", help="checkpoint file or OpenCLIP tag")
    parser.add_argument("--data", help="CSV, TSV, shards or captions.json, for retrieval")
    parser.add_argument(
        "--zero-shot",
        metavar="FOLDER",
        help="pictures in class folders, classified by the classes' names",
    )
    parser.add_argument(
        "--prompts",
        metavar="FILE",
        help="zero-shot: templates with {} for the class, a line each (default: OpenCLIP's 80)",
    )
    parser.add_argument(
        "--linear-probe",
        metavar="FOLDER",
        help="train/CLASS/... and test/CLASS/... (and val/): logistic regression on embeddings",
    )
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument(
        "--hard-pairs", help="mined on --data: also asks whether each pair beats its hard pairs"
    )
    parser.add_argument(
        "--method", default="", help="name of the method, for the registry and the report"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the training run, for the registry"
    )
    parser.add_argument("--epoch", default="", help="epoch of the checkpoint, for the registry")
    parser.add_argument(
        "--ties",
        choices=TIES,
        default="pessimistic",
        help="equal scores: against the model, or their expectation",
    )
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="also chance, BM25, bag of words, and the ceiling of repeated captions",
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="ours",
        help="miniclip: also its own way of testing, text to image",
    )
    parser.add_argument(
        "--results-dir",
        "--results_dir",
        type=Path,
        metavar="FOLDER",
        help="also MiniCLIP's metrics_METHOD.json there",
    )
    add_data_flags(parser)
    parser.add_argument("--batch-size", type=whole_number(1), default=256)
    parser.add_argument("--workers", type=whole_number(0), default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parse_arguments(parser, "evaluate", argv)
    if not (args.data or args.zero_shot or args.linear_probe):
        raise usage("nothing to evaluate on", fix="--data, --zero-shot or --linear-probe")
    if not args.data and (args.baselines or args.results_dir or args.protocol != "ours"):
        raise usage("--baselines, --protocol and --results-dir are about retrieval", fix="--data")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    samples = open_named(args.data, args) if args.data else None
    table = (
        open_hard_pairs(args.hard_pairs, num_samples=len(samples), verify=True)
        if args.hard_pairs and samples
        else None
    )
    if samples is not None and table is not None:
        check_same_dataset(
            samples.fingerprint, table.fingerprint, ours_name=args.data, theirs_name=args.hard_pairs
        )
    prompts = read_prompts(args.prompts) if args.zero_shot else []
    encoder = load_encoder(args.model, args.pretrained, device=args.device)
    options: Options = {
        "batch_size": args.batch_size,
        "workers": args.workers,
        "device": args.device,
    }
    if samples is not None:
        _retrieval(args, samples, table, encoder, options)
    classified = {}
    if args.zero_shot:
        classified["zero_shot"] = {
            "folder": args.zero_shot,
            **zero_shot(args.zero_shot, encoder, prompts, options),
        }
    if args.linear_probe:
        classified["linear_probe"] = {
            "folder": args.linear_probe,
            **probe(args.linear_probe, encoder, options),
        }
    if classified:
        write_json(
            args.out / "classes.json",
            {**encoder.description, "pretrained": args.pretrained or "", **classified},
        )
        print(json.dumps(classified))
        print(f"classes: {args.out / 'classes.json'}", file=sys.stderr)
    return Exit.OK


def _retrieval(
    args: argparse.Namespace,
    samples: Samples,
    table: HardPairTable | None,
    encoder: Encoder,
    options: Options,
) -> None:
    embedded = embed(samples, from_encoder(encoder, args.device), **options)  # type: ignore[arg-type]
    metrics, arrays = evaluate(samples, embedded, table, ties=args.ties)
    if args.baselines:
        metrics |= baselines(samples, embedded.rows, ties=args.ties)
    if args.protocol != "ours" or args.results_dir:
        metrics["miniclip"] = miniclip(samples, embedded)
    record = {
        "method": args.method,
        "seed": args.seed,
        "epoch": args.epoch,
        **encoder.description,
        "pretrained": args.pretrained or "",
        "data": args.data,
        "dataset_fingerprint": samples.fingerprint,
        "hard_pairs": args.hard_pairs or "",
        "ties": args.ties,
        "rejected": len(embedded.rejected),
        **metrics,
    }
    write_drawn(args.out, drawn(samples, embedded))
    write_results(args.out, record, arrays, protocol=args.protocol)
    register(args.out.parent / "run_registry.csv", record)
    if embedded.rejected:
        print(
            f"{len(embedded.rejected)} of {len(samples)} rows are left out: {reasons_text(embedded.rejected)}",
            file=sys.stderr,
        )
    if table is not None and "beats_counted" not in arrays:
        print(
            f"no row that is evaluated has a hard pair in {args.hard_pairs}: nothing is measured against them",
            file=sys.stderr,
        )
    print(json.dumps(metrics))
    if args.baselines or args.protocol != "ours":
        print(tables(record, args.protocol), file=sys.stderr)
    if args.results_dir:
        print(
            f"MiniCLIP's metrics: {write_miniclip(args.results_dir, record, args.out)}",
            file=sys.stderr,
        )
    print(f"evaluation: {args.out / 'evaluation.json'}", file=sys.stderr)
