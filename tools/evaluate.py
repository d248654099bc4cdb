"""Evaluates a model: retrieval on held-out pairs, zero-shot classes, a linear probe.

    python -m tools.evaluate --model ViT-B-32 --pretrained epoch_5.pt --data test.csv --out runs/x [--hard-pairs OUT/test_hard_sample.csv]
    python -m tools.evaluate --model ViT-B-32 --pretrained epoch_5.pt --zero-shot imagenet/val --linear-probe flowers --out runs/x

Writes into OUT: evaluation.json, evaluation.csv, evaluation.md and queries.npz (what each query found, for reports and paired tests), and one
line into run_registry.csv beside OUT. All shares are fractions.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluation.retrieval import TIES, Ranking, beats_hard_pairs, rank_positives, summarise
from formats.arguments import add_data_flags, open_named
from formats.atomic import atomic_open, write_json, write_text
from formats.errors import Exit, run_command, usage, whole_number
from formats.hard_pairs import HardPairTable, open_hard_pairs
from formats.manifest import check_same_dataset
from formats.samples import Samples
from mining.embed import embed
from mining.encoders import from_encoder
from mining.stream import Embedded
from tools.evaluating.classes import Options, probe, read_prompts, zero_shot
from towers.load import Encoder, load_encoder

REGISTRY_COLUMNS = {
    "method": "method",
    "seed": "seed",
    "epoch": "epoch",
    "model": "model",
    "pretrained": "pretrained",
    "R1_I2T": "image_to_text_R@1",
    "R5_I2T": "image_to_text_R@5",
    "R10_I2T": "image_to_text_R@10",
    "R1_T2I": "text_to_image_R@1",
    "R5_T2I": "text_to_image_R@5",
    "R10_T2I": "text_to_image_R@10",
    "MR_I2T": "image_to_text_median_rank",
    "MR_T2I": "text_to_image_median_rank",
    "mAP10_I2T": "image_to_text_mAP@10",
    "mAP10_T2I": "text_to_image_mAP@10",
}
"""Columns of CLIPSE's run_registry.csv and where their values are in evaluation.json."""


def evaluate(
    samples: Samples, embedded: Embedded, table: HardPairTable | None, *, ties: str = "pessimistic"
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Metrics of a model, and per-query arrays.

    Captions that stand several times in one group are one item of the gallery, and so are a group's texts as queries; images are all
    different items.

    Returns:
        metrics by name; arrays: ``image_rows``, ``text_rows`` (dataset rows of images and of distinct texts), ranks and top-10 rows of
        both directions, and with a table ``*_beats`` per image row.
    """
    rows, groups = embedded.rows, samples.groups[embedded.rows]
    _, distinct = np.unique(np.stack([groups, samples.texts[rows]], axis=1), axis=0, return_index=True)
    distinct.sort()
    to_text = rank_positives(embedded.image, embedded.text[distinct], groups, groups[distinct])
    to_image = rank_positives(embedded.text[distinct], embedded.image, groups[distinct], groups)
    metrics = {**summarise(to_text, "image_to_text", ties=ties), **summarise(to_image, "text_to_image", ties=ties)}
    metrics.update({"images": len(rows), "texts": len(distinct), "groups": len(np.unique(groups))})
    arrays = {
        "image_rows": rows,
        "text_rows": rows[distinct],
        "image_to_text_ranks": to_text.ranks,
        "image_to_text_top": rows[distinct][to_text.top],
        "text_to_image_ranks": to_image.ranks,
        "text_to_image_top": rows[to_image.top],
    }
    if table is not None:
        hard, flags = _against_hard_pairs(samples, embedded, table, to_text, to_image, distinct)
        metrics.update(hard)
        arrays.update(flags)
    return metrics, arrays


def _against_hard_pairs(
    samples: Samples, embedded: Embedded, table: HardPairTable, to_text: Ranking, to_image: Ranking, distinct: np.ndarray
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Share of queries whose own pair beats all its mined ones, and share of wrong first answers that were mined ones (by group)."""
    position = np.full(len(samples) + 1, -1)  # by dataset row; the last entry serves the padding
    position[embedded.rows] = np.arange(len(embedded.rows))
    partners = position[np.asarray(table.indices)[embedded.rows]]
    counted = (partners >= 0).any(axis=1)
    to_text_beats, to_image_beats = beats_hard_pairs(embedded.image, embedded.text, partners)
    groups = samples.groups[embedded.rows]
    partner_groups = np.where(partners >= 0, groups[partners], -1)
    metrics = {
        "image_to_text_beats_hard_pairs": float(to_text_beats[counted].mean()),
        "text_to_image_beats_hard_pairs": float(to_image_beats[counted].mean()),
    }
    first_answers = (
        ("image_to_text", to_text, np.arange(len(groups)), groups[distinct][to_text.top[:, 0]]),
        ("text_to_image", to_image, distinct, groups[to_image.top[:, 0]]),
    )
    for name, ranking, query, answer in first_answers:
        wrong = ranking.ranks > 1
        mined = (partner_groups[query] == answer[:, None]).any(axis=1)
        metrics[f"{name}_wrong_answers_mined"] = float(mined[wrong].mean()) if wrong.any() else 0.0
    return metrics, {"image_to_text_beats": to_text_beats, "text_to_image_beats": to_image_beats, "beats_counted": counted}


def register(path: Path, record: dict[str, Any]) -> None:
    """Adds one line to a run registry; the header is written once and must be ours."""
    is_new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(REGISTRY_COLUMNS)
        writer.writerow([record.get(source, "") for source in REGISTRY_COLUMNS.values()])


def write_results(out: Path, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """evaluation.json, .csv, .md and queries.npz."""
    metrics = {name: value for name, value in record.items() if isinstance(value, float | int)}
    write_text(out / "evaluation.csv", "metric,value\n" + "".join(f"{name},{value}\n" for name, value in metrics.items()))
    write_text(
        out / "evaluation.md", "| metric | value |\n|---|---|\n" + "".join(f"| {name} | {value:.4g} |\n" for name, value in metrics.items())
    )
    with atomic_open(out / "queries.npz") as file:
        np.savez_compressed(file, **arrays)
    write_json(out / "evaluation.json", record)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.evaluate", description="Evaluate a model's retrieval on held-out pairs.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--pretrained", help="checkpoint file or OpenCLIP tag")
    parser.add_argument("--data", help="CSV, TSV, shards or captions.json, for retrieval")
    parser.add_argument("--zero-shot", metavar="FOLDER", help="pictures in class folders, classified by the classes' names")
    parser.add_argument(
        "--prompts", metavar="FILE", help="zero-shot: templates with {} for the class, a line each (default: OpenCLIP's 80)"
    )
    parser.add_argument(
        "--linear-probe", metavar="FOLDER", help="train/CLASS/... and test/CLASS/... (and val/): logistic regression on embeddings"
    )
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--hard-pairs", help="mined on --data: also asks whether each pair beats its hard pairs")
    parser.add_argument("--method", default="", help="name of the method, for the registry and the report")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training run, for the registry")
    parser.add_argument("--epoch", default="", help="epoch of the checkpoint, for the registry")
    parser.add_argument("--ties", choices=TIES, default="pessimistic", help="equal scores: against the model, or their expectation")
    add_data_flags(parser)
    parser.add_argument("--batch-size", type=whole_number(1), default=256)
    parser.add_argument("--workers", type=whole_number(0), default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    if not (args.data or args.zero_shot or args.linear_probe):
        raise usage("nothing to evaluate on", fix="--data, --zero-shot or --linear-probe")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    samples = open_named(args.data, args) if args.data else None
    table = open_hard_pairs(args.hard_pairs, num_samples=len(samples), verify=True) if args.hard_pairs and samples else None
    if samples is not None and table is not None:
        check_same_dataset(samples.fingerprint, table.fingerprint, ours_name=args.data, theirs_name=args.hard_pairs)
    prompts = read_prompts(args.prompts) if args.zero_shot else []
    encoder = load_encoder(args.model, args.pretrained, device=args.device)
    options: Options = {"batch_size": args.batch_size, "workers": args.workers, "device": args.device}
    if samples is not None:
        _retrieval(args, samples, table, encoder, options)
    classified = {}
    if args.zero_shot:
        classified["zero_shot"] = {"folder": args.zero_shot, **zero_shot(args.zero_shot, encoder, prompts, options)}
    if args.linear_probe:
        classified["linear_probe"] = {"folder": args.linear_probe, **probe(args.linear_probe, encoder, options)}
    if classified:
        write_json(args.out / "classes.json", {**encoder.description, "pretrained": args.pretrained or "", **classified})
        print(json.dumps(classified))
        print(f"classes: {args.out / 'classes.json'}", file=sys.stderr)
    return Exit.OK


def _retrieval(args: argparse.Namespace, samples: Samples, table: HardPairTable | None, encoder: Encoder, options: Options) -> None:
    embedded = embed(samples, from_encoder(encoder, args.device), **options)  # type: ignore[arg-type]
    metrics, arrays = evaluate(samples, embedded, table, ties=args.ties)
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
    write_results(args.out, record, arrays)
    register(args.out.parent / "run_registry.csv", record)
    print(json.dumps(metrics))
    print(f"evaluation: {args.out / 'evaluation.json'}", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
