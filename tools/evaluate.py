"""Evaluates a model's retrieval on held-out pairs.

    python -m tools.evaluate --model ViT-B-32 --pretrained epoch_5.pt --data test.csv --out runs/x [--hard-pairs OUT/test_hard_sample.csv]

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
from formats.errors import Exit, non_finite, run_command, whole_number
from formats.hard_pairs import HardPairTable, open_hard_pairs
from formats.manifest import check_same_dataset
from formats.samples import Samples
from mining.embed import embed
from mining.encoders import from_encoder
from mining.stream import Embedded
from towers.load import load_encoder

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
    for name, rows in (("image", embedded.image), ("text", embedded.text)):
        bad = embedded.rows[~np.isfinite(rows).all(axis=1)]
        if len(bad):
            raise non_finite(f"{len(bad)} {name} embeddings are not finite", where=f"rows {bad[:10].tolist()}", fix="use other weights")
    rows, groups = embedded.rows, samples.groups[embedded.rows]
    _, distinct = np.unique(samples.positives[rows], axis=0, return_index=True)  # one text per (group, caption)
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
    parser.add_argument("--data", required=True, help="CSV, TSV, shards or captions.json")
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
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    samples = open_named(args.data, args)
    table = open_hard_pairs(args.hard_pairs, num_samples=len(samples), verify=True) if args.hard_pairs else None
    if table is not None:
        check_same_dataset(samples.fingerprint, table.fingerprint, ours_name=args.data, theirs_name=args.hard_pairs)
    encoder = load_encoder(args.model, args.pretrained, device=args.device)
    embedded = embed(samples, from_encoder(encoder, args.device), batch_size=args.batch_size, workers=args.workers, device=args.device)
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
    return Exit.OK


if __name__ == "__main__":
    run_command(main)
