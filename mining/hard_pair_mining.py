"""Mines the hard pairs of a dataset from its embeddings.

    python -m mining.hard_pair_mining --dataset cc3m --save_path OUT --topk 50 --embeddings EMB

Writes HELIP's files (OUT/cc3m_hard_sample.csv, OUT/cc3m_hard_sample_dict.json) and OUT/cc3m_hard_pairs/, the same table memory-mapped,
with scores and a manifest that ties it to the data.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from formats.embeddings import Embeddings, load_array, open_embeddings
from formats.errors import Exit, UserError, bad_input, mismatch, run_command, usage, whole_number
from formats.hard_pairs import HardPairTable, table_folder, write_helip, write_table
from mining.search import METHODS, hard_pairs
from towers.load import check_device


@dataclass(frozen=True)
class Options:
    """What decides a table, beside the embeddings (module docstring of ``mining.search`` for the meaning)."""

    topk: int = 50
    mining_method: str = "HPM"
    duplicate_threshold: float = 0.98
    similarity_floor: float = 0.0
    noise_rule: str = "none"
    approx: int | None = None
    seed: int = 0
    drop_nonfinite: bool = False


def mine(embeddings: Embeddings, options: Options, *, device: str = "cpu") -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Hard pairs of all N dataset rows; rows without embeddings, zero and (on request) non-finite ones have empty lists.

    Returns:
        indices (N, K) int64, scores (N, K) float32, and the reason of each row that was left out.

    Raises:
        UserError: exit 6 for non-finite embeddings without ``drop_nonfinite``.
    """
    rejected = {int(row): reason for row, reason in embeddings.manifest.get("rejected", {}).items()}
    dropped = _unusable(embeddings, options.drop_nonfinite)
    rejected.update({int(embeddings.rows[i]): reason for i, reason in dropped.items()})
    local, local_scores = hard_pairs(
        embeddings.image,
        embeddings.text,
        top_k=options.topk,
        duplicate_threshold=options.duplicate_threshold,
        similarity_floor=options.similarity_floor,
        groups=embeddings.positives,
        exclude=np.array(sorted(dropped), np.int64),
        method=options.mining_method,
        approx=options.approx,
        seed=options.seed,
        device=device,
    )
    if options.noise_rule == "paper":  # HELIP section 3.2: a target with a zero score among its top K is an outlier
        noise = (local < 0).any(axis=1)
        local[noise], local_scores[noise] = -1, 0
    indices = np.full((embeddings.num_samples, options.topk), -1, np.int64)
    scores = np.zeros((embeddings.num_samples, options.topk), np.float32)
    indices[embeddings.rows] = np.where(local >= 0, embeddings.rows[local], -1)
    scores[embeddings.rows] = local_scores
    return indices, scores, rejected


def _unusable(embeddings: Embeddings, drop_nonfinite: bool) -> dict[int, str]:
    """Positions of zero rows and, if allowed, non-finite ones, with the reason."""
    norms = np.stack([np.linalg.norm(np.asarray(rows, np.float64), axis=1) for rows in (embeddings.image, embeddings.text)])
    nonfinite = np.flatnonzero(~np.isfinite(norms).all(axis=0))
    if len(nonfinite) and not drop_nonfinite:
        raise UserError(
            Exit.NON_FINITE,
            f"{len(nonfinite)} embeddings are not finite",
            where=f"rows {embeddings.rows[nonfinite][:10].tolist()}",
            fix="embed again with other weights, or leave them out with --drop-nonfinite",
        )
    zero = np.flatnonzero((norms <= 1e-30).any(axis=0))
    return {**{int(i): "zero_norm" for i in zero}, **{int(i): "non_finite" for i in nonfinite}}


def statistics(table: HardPairTable) -> dict[str, float]:
    """Numbers that tell a good table from a bad one: list lengths, scores, and how often the most popular row is listed."""
    lengths = np.asarray(table.lengths)
    real = np.asarray(table.indices)[np.asarray(table.indices) >= 0]
    top = np.asarray(table.scores)[:, 0][lengths > 0]
    return {
        "rows": len(lengths),
        "rows_with_pairs": int((lengths > 0).sum()),
        "pairs_per_row": float(lengths.mean()),
        "hardest_score_median": float(np.median(top)) if len(top) else 0.0,
        "most_listed": int(np.bincount(real).max()) if len(real) else 0,
    }


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mining.hard_pair_mining", description="Mine the hard pairs of a dataset.")
    parser.add_argument("--dataset", required=True, help="name of the dataset; names the output files")
    parser.add_argument("--save_path", "--save-path", required=True, help="output folder")
    parser.add_argument("--embeddings", help="folder written by mining.embed or clip-retrieval")
    parser.add_argument("--image-embeddings", help=".npy, rows as in the dataset")
    parser.add_argument("--text-embeddings", help=".npy, rows as in the dataset")
    parser.add_argument("--topk", type=whole_number(1), default=Options.topk)
    parser.add_argument("--mining_method", "--mining-method", choices=METHODS, default=Options.mining_method)
    parser.add_argument("--duplicate-threshold", type=float, default=Options.duplicate_threshold)
    parser.add_argument("--similarity-floor", type=float, default=Options.similarity_floor)
    parser.add_argument("--noise-rule", choices=("none", "paper"), default=Options.noise_rule)
    parser.add_argument("--approx", type=whole_number(1), help="search in a seeded random pool of this many rows")
    parser.add_argument("--seed", type=whole_number(0), default=Options.seed)
    parser.add_argument("--drop-nonfinite", action="store_true", help="leave rows with NaN or infinity out instead of stopping")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    if bool(args.embeddings) == bool(args.image_embeddings and args.text_embeddings):
        raise usage("give either --embeddings, or both --image-embeddings and --text-embeddings", fix="python -m mining.embed makes them")
    if not re.fullmatch(r"[\w.-]+", args.dataset):
        raise usage(f"--dataset names files: letters, digits, '.', '_' and '-', not {args.dataset!r}")
    if not 0 < args.duplicate_threshold <= 2 or not -1 <= args.similarity_floor <= 1:
        raise usage("--duplicate-threshold must lie in (0, 2], --similarity-floor in [-1, 1]")
    return args


def _open(args: argparse.Namespace) -> Embeddings:
    if args.embeddings:
        return open_embeddings(args.embeddings, verify=True)
    image, text = load_array(args.image_embeddings), load_array(args.text_embeddings)
    if len(image) != len(text):
        raise mismatch(f"{len(image)} image rows, {len(text)} text rows", where=f"{args.image_embeddings}, {args.text_embeddings}")
    return Embeddings(image, text, np.arange(len(image)), len(image), {})


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    check_device(args.device)
    options = Options(**{name: getattr(args, name) for name in Options.__dataclass_fields__})
    embeddings = _open(args)
    if not len(embeddings.rows):
        raise bad_input("there are no embeddings", where=args.embeddings or args.image_embeddings)
    indices, scores, rejected = mine(embeddings, options, device=args.device)
    manifest = {
        "kind": "hard_pairs",
        "dataset": args.dataset,
        "dataset_fingerprint": embeddings.fingerprint,
        "embeddings": {key: embeddings.manifest.get(key) for key in ("model", "weights", "preprocess", "sha256")},
        "options": vars(options),
        "rejected": {str(row): reason for row, reason in sorted(rejected.items())},
    }
    table = write_table(table_folder(args.save_path, args.dataset), indices, scores, manifest)
    write_helip(args.save_path, args.dataset, table)
    numbers = statistics(table)
    if not numbers["rows_with_pairs"]:
        print("warning: no row has a hard pair; a model whose embeddings are all alike makes every pair a near duplicate", file=sys.stderr)
    print(json.dumps(numbers))
    print(f"hard pairs: {Path(args.save_path) / args.dataset}_hard_sample.csv", file=sys.stderr)
    return Exit.OK


if __name__ == "__main__":
    run_command(main)
