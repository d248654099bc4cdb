r"""Evaluate a model: retrieval on held-out pairs, choices, zero-shot classes, a linear probe.

    hardpairs evaluate --model ViT-B-32 --pretrained epoch_5.pt --data test.csv \
        --out runs/x [--hard-pairs OUT/test_hard_sample.csv]
    hardpairs evaluate --model ViT-B-32 --pretrained epoch_5.pt --data test.csv --baselines \
        --protocol both --out runs/x
    hardpairs evaluate --model ViT-B-32 --pretrained epoch_5.pt --zero-shot imagenet/val \
        --linear-probe flowers --out runs/x
    hardpairs evaluate --model ViT-B-32 --pretrained epoch_5.pt \
        --choices sugarcrepe/data --images coco/val2017 --out runs/x

Writes into OUT: evaluation.json, evaluation.csv, evaluation.md, queries.npz (the answers to each
query, for reports and paired tests) and drawn.npz (a few embeddings, for plots), and one line into
run_registry.csv beside OUT. Shares are fractions; in MiniCLIP's protocol, percent.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.atomic import write_json
from hardpairs.core.errors import Exit, flags, usage, whole_number
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists, check_weights
from hardpairs.metrics import METRICS

if TYPE_CHECKING:
    from hardpairs.data.choices import Choices
    from hardpairs.data.hard_pairs import HardPairTable
    from hardpairs.data.relevance import Relevance
    from hardpairs.data.samples import Samples
    from hardpairs.evaluating.classes import Options
    from hardpairs.models.load import Encoder
    from hardpairs.models.prompts import Names

PROTOCOLS = ("ours", "miniclip", "both")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="hardpairs evaluate",
        description="Evaluate a model's retrieval on held-out pairs.",
    )
    _add_sources(parser)
    _add_registry(parser)
    _add_retrieval(parser)
    add_data_flags(parser)
    parser.add_argument("--batch-size", type=whole_number(1), default=256)
    parser.add_argument("--workers", type=whole_number(0), default=2)
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    args = parse_arguments(parser, "evaluate", argv)
    if not (args.data or args.choices or args.zero_shot or args.linear_probe):
        raise usage(
            "nothing to evaluate on", fix="--data, --choices, --zero-shot or --linear-probe"
        )
    if args.images and not args.choices:
        raise usage("--images is the folder of the images of --choices", fix="--choices")
    if (args.classnames or args.templates) and not args.zero_shot:
        raise usage("--classnames and --templates are about --zero-shot", fix="--zero-shot FOLDER")
    about_data = args.baselines or args.metrics or args.results_dir or args.protocol != "ours"
    if (about_data or args.relevance) and not args.data:
        raise usage(
            "--baselines, --metrics, --protocol, --relevance and --results-dir are about retrieval",
            fix="--data",
        )
    return args


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, help="OpenCLIP model name, or local-dir:FOLDER with its weights"
    )
    parser.add_argument("--pretrained", help="checkpoint file or OpenCLIP tag")
    parser.add_argument(
        "--data",
        help="CSV, TSV, shards, captions.json, dataset_coco.json or CLIP_benchmark's layout, for "
        "retrieval",
    )
    parser.add_argument(
        "--zero-shot",
        metavar="FOLDER",
        help="images in class folders, classified by the classes' names; ImageNet's folders are "
        "known by their ids; or CLIP_benchmark's layout",
    )
    parser.add_argument(
        "--classnames",
        metavar="FILE",
        help="zero-shot: a name a line, in the order of the sorted folders, or folder, tab and "
        "name (default: the names of the folders)",
    )
    parser.add_argument(
        "--templates",
        "--prompts",
        dest="templates",
        metavar="FILE",
        help="zero-shot: templates with {} for the class, a line each (default: those of "
        "CLIP_benchmark's layout, else OpenCLIP's 80)",
    )
    parser.add_argument(
        "--linear-probe",
        metavar="FOLDER",
        help="train/CLASS/... and test/CLASS/... (and val/): logistic regression on embeddings",
    )
    parser.add_argument(
        "--choices",
        metavar="FILE",
        help="SugarCrepe, Winoground, ColorSwap, ARO or VALSE: a JSON, JSON-lines or parquet file, "
        "or a folder of them; text, image and group scores",
    )
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        help="folder of the images of --choices (default: that of the file)",
    )
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument(
        "--hard-pairs", help="mined on --data: also asks whether each pair beats its hard pairs"
    )


def _add_registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method", default="", help="name of the method, for the registry and the report"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the training run, for the registry"
    )
    parser.add_argument("--epoch", default="", help="epoch of the checkpoint, for the registry")


def _add_retrieval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ties",
        choices=("pessimistic", "expected"),
        default="pessimistic",
        help="equal scores: against the model, or their expectation",
    )
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="also chance, BM25, bag of words, and the ceiling of repeated captions",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=tuple(METRICS),
        default=(),
        metavar="NAME",
        help=f"also the numbers of these metrics: {', '.join(METRICS)}",
    )
    parser.add_argument(
        "--relevance",
        nargs="+",
        metavar="FILE",
        help="also against many right answers: JSON of the image ids of each caption id, and of "
        "the caption ids of each image id, as ECCV Caption and CxC have them",
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="ours",
        help="miniclip: also its own way of testing, text to image",
    )
    parser.add_argument(
        "--results-dir",
        type=Path,
        metavar="FOLDER",
        help="also MiniCLIP's metrics_METHOD.json there",
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parse(argv)
    check_weights(args.pretrained)
    for folder in filter(None, (args.zero_shot, args.linear_probe)):
        check_exists(folder, "folder")
    samples = open_named(args.data, args) if args.data else None
    table = _open_table(args, samples)
    relevance = _open_relevance(args, samples)
    choices = _open_choices(args)
    import torch

    from hardpairs.evaluating.classes import read_prompts
    from hardpairs.models.load import load_encoder
    from hardpairs.models.prompts import read_names

    prompts = read_prompts(args.templates, args.zero_shot) if args.zero_shot else []
    class_names = read_names(args.classnames) if args.classnames else None
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    encoder = load_encoder(args.model, args.pretrained, device=device)
    options: Options = {
        "batch_size": args.batch_size,
        "workers": args.workers,
        "device": device,
    }
    if samples is not None:
        _evaluate_retrieval(args, samples, table, relevance, encoder, options)
    if choices is not None:
        _evaluate_choices(args, choices, encoder, options)
    if args.zero_shot or args.linear_probe:
        _evaluate_classes(args, encoder, prompts, class_names, options)
    return Exit.OK


def _open_relevance(args: argparse.Namespace, samples: Samples | None) -> Relevance | None:
    if samples is None or not args.relevance:
        return None
    from hardpairs.data.relevance import open_relevance

    return open_relevance(args.relevance, samples)


def _open_choices(args: argparse.Namespace) -> Choices | None:
    if not args.choices:
        return None
    from hardpairs.data.choices import open_choices

    with flags(["choices", "images"]):
        return open_choices(args.choices, args.images)


def _open_table(args: argparse.Namespace, samples: Samples | None) -> HardPairTable | None:
    from hardpairs.data.hard_pairs import open_hard_pairs
    from hardpairs.data.manifest import check_same_dataset

    if samples is None or not args.hard_pairs:
        return None
    table = open_hard_pairs(args.hard_pairs, num_samples=len(samples), verify=True)
    check_same_dataset(
        samples.fingerprint, table.fingerprint, ours_name=args.data, theirs_name=args.hard_pairs
    )
    return table


def _evaluate_retrieval(
    args: argparse.Namespace,
    samples: Samples,
    table: HardPairTable | None,
    relevance: Relevance | None,
    encoder: Encoder,
    options: Options,
) -> None:
    from hardpairs.embedding.distinct import embed_distinct
    from hardpairs.evaluating.evaluation import evaluate_embeddings, write_evaluation
    from hardpairs.evaluating.relevance import relevance_table
    from hardpairs.evaluating.results import write_miniclip
    from hardpairs.evaluating.tables import groups_text, tables
    from hardpairs.models.encoders import from_encoder
    from hardpairs.pages.numbers import reasons_text

    embedded = embed_distinct(samples, from_encoder(encoder, str(options["device"])), **options)  # type: ignore[arg-type]
    evaluation = evaluate_embeddings(
        samples,
        embedded,
        table,
        ties=args.ties,
        with_baselines=args.baselines,
        with_miniclip=args.protocol != "ours" or args.results_dir is not None,
        more_metrics=args.metrics,
        relevance=relevance,
    )
    record = {
        "method": args.method,
        "seed": args.seed,
        "epoch": args.epoch,
        **encoder.description,
        "pretrained": args.pretrained or "",
        "data": args.data,
        **({"split": args.split} if args.split else {}),
        "dataset_fingerprint": samples.fingerprint,
        "hard_pairs": args.hard_pairs or "",
        "ties": args.ties,
        "rejected": len(embedded.rejected),
    }
    record = write_evaluation(args.out, evaluation, record, protocol=args.protocol)
    notes = [groups_text(evaluation.metrics, evaluation.ceiling)]
    if embedded.rejected:
        notes.append(
            f"{len(embedded.rejected)} of {len(samples)} rows are left out: "
            f"{reasons_text(embedded.rejected)}"
        )
    if table is not None and not evaluation.compared_with_hard_pairs:
        notes.append(
            f"no row that is evaluated has a hard pair in {args.hard_pairs}: "
            "nothing is measured against them"
        )
    print(json.dumps(evaluation.metrics))
    if relevance is not None:
        notes.append(relevance_table(evaluation.metrics["relevance"]))
    if args.baselines or args.protocol != "ours":
        notes.append(tables(record, args.protocol))
    if args.results_dir:
        path = write_miniclip(args.results_dir, record, args.out)
        notes.append(f"MiniCLIP's metrics: {path}")
    notes.append(f"evaluation: {args.out / 'evaluation.json'}")
    print("\n".join(notes), file=sys.stderr)


def _evaluate_choices(
    args: argparse.Namespace, choices: Choices, encoder: Encoder, options: Options
) -> None:
    from hardpairs.evaluating.choices import choices_table, evaluate_choices
    from hardpairs.models.encoders import from_encoder

    record = evaluate_choices(choices, from_encoder(encoder, str(options["device"])), **options)  # type: ignore[arg-type]
    measured = {"choices": {"file": args.choices, **record}}
    path = args.out / "choices.json"
    write_json(path, {**encoder.description, "pretrained": args.pretrained or "", **measured})
    print(json.dumps(measured))
    print(f"{choices_table(record)}\n\nchoices: {path}", file=sys.stderr)


def _evaluate_classes(
    args: argparse.Namespace,
    encoder: Encoder,
    prompts: list[str],
    class_names: Names | None,
    options: Options,
) -> None:
    from hardpairs.evaluating.classes import probe, zero_shot

    measured = {}
    if args.zero_shot:
        numbers = zero_shot(args.zero_shot, encoder, prompts, options, class_names)
        measured["zero_shot"] = {"folder": args.zero_shot, **numbers}
    if args.linear_probe:
        numbers = probe(args.linear_probe, encoder, options)
        measured["linear_probe"] = {"folder": args.linear_probe, **numbers}
    path = args.out / "classes.json"
    write_json(path, {**encoder.description, "pretrained": args.pretrained or "", **measured})
    print(json.dumps(measured))
    print(f"classes: {path}", file=sys.stderr)
