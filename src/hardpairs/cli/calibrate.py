"""Tells which SANW values touch which share of your pairs.

    python -m tools.calibrate_sanw EMB [--alpha .5] [--out FOLDER]

SANW's thresholds are similarities, and what counts as similar depends on the encoder and on the data: of random COCO captions three
quarters have a cosine above .3 under ViT-B-32. This draws random batches from stored embeddings, as training would, and prints the
quantiles of their similarities, the share of negatives that values of delta, m1 and m2 touch, and values to start with. Into --out
go similarities.csv (CLIPSE's columns of its caption analysis, a line each for text, image and both), shares.csv and similarities.png.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
from pathlib import Path

import numpy as np

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.atomic import atomic_open, write_text
from hardpairs.core.errors import Exit, bad_input, usage, whole_number
from hardpairs.core.vectors import unit_rows
from hardpairs.data.embeddings import Embeddings, open_embeddings

CUTS = (0.2, 0.3, 0.4)  # of CLIPSE's fraction_ge columns
GRID = tuple(round(0.1 * step, 1) for step in range(11))


def negatives_of_batches(
    embeddings: Embeddings, batch: int, batches: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Text and image cosines of all ordered pairs of different rows in random batches, known positives left out: (P,), (P,) float32."""
    rng, text, image = np.random.default_rng(seed), [], []
    size = min(batch, len(embeddings.rows))
    for _ in range(batches):
        rows = np.sort(rng.choice(len(embeddings.rows), size, replace=False))
        negative = ~np.eye(size, dtype=bool)
        if embeddings.positives is not None:
            ids = embeddings.positives[rows]
            negative &= ~(ids[:, None, :] == ids[None, :, :]).any(axis=2)
        for source, found in ((embeddings.text, text), (embeddings.image, image)):
            unit = unit_rows(source[rows])
            found.append((unit @ unit.T)[negative])
    return np.concatenate(text), np.concatenate(image)


def summary(similarity: np.ndarray, batches: int) -> dict[str, float]:
    """CLIPSE's columns of one kind of similarity."""
    quantiles = np.percentile(similarity, [50, 75, 90, 95])
    return {
        "mean_similarity": float(similarity.mean()),
        "std_similarity": float(similarity.std()),
        "min_similarity": float(similarity.min()),
        "max_similarity": float(similarity.max()),
        **{
            f"percentile_{q}": float(value)
            for q, value in zip((50, 75, 90, 95), quantiles, strict=True)
        },
        **{
            f"fraction_ge_{str(cut).replace('.', '_')}": float((similarity >= cut).mean())
            for cut in CUTS
        },
        "total_pairs": len(similarity),
        "num_batches": batches,
    }


def suggestion(similarity: np.ndarray) -> dict[str, float]:
    """Values to start with: debias touches the most similar twentieth, and halves the weight of the most similar thousandth; the band
    goes from the upper quarter to the most similar hundredth, its edges a tenth of its width soft."""
    upper, delta, high, top = np.percentile(similarity, [75, 95, 99, 99.9])
    return {
        "delta": float(delta),
        "lambda": math.log(2) / max(float(top - delta), 1e-3),
        "m1": float(upper),
        "m2": float(high),
        "gamma": max(float(high - upper) / 10, 1e-3),
    }


def plot(kinds: dict[str, np.ndarray], values: dict[str, float], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, similarity in kinds.items():
        axes.hist(similarity, 100, density=True, histtype="step", label=name)
    for name in ("delta", "m1", "m2"):
        axes.axvline(values[name], color="0.5", linestyle=":")
        axes.annotate(
            f"{name} {values[name]:.2f}",
            (values[name], axes.get_ylim()[1]),
            rotation=90,
            va="top",
            ha="right",
            fontsize=8,
        )
    axes.set(xlabel="cosine similarity of negatives in random batches", ylabel="density")
    axes.legend()
    with atomic_open(path) as file:
        figure.savefig(file, format="png", dpi=120)
    pyplot.close(figure)


def _write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs calibrate",
        description="Which SANW values touch which share of your pairs.",
    )
    parser.add_argument(
        "embeddings", metavar="EMB", help="folder of mining.embed or clip-retrieval"
    )
    parser.add_argument(
        "--alpha", type=float, default=0.5, help="share of text similarity, as --sanw-alpha"
    )
    parser.add_argument("--batch-size", type=whole_number(2), default=256, help="rows of a batch")
    parser.add_argument("--batches", type=whole_number(1), default=50)
    parser.add_argument("--seed", type=whole_number(0), default=0)
    parser.add_argument("--out", type=Path, help="folder for the tables and the plot")
    args = parse_arguments(parser, "calibrate", argv)
    if not 0 <= args.alpha <= 1:
        raise usage(f"--alpha must lie in [0, 1], not {args.alpha}")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    embeddings = open_embeddings(args.embeddings)
    if len(embeddings.rows) < 2:
        raise bad_input(f"{len(embeddings.rows)} embeddings make no pair", where=args.embeddings)
    text, image = negatives_of_batches(embeddings, args.batch_size, args.batches, args.seed)
    if not len(text) or not np.isfinite(text).all() or not np.isfinite(image).all():
        raise bad_input(
            "no finite similarities of negatives",
            where=args.embeddings,
            fix="embed again, or give rows groups of their own",
        )
    kinds = {
        "text": text,
        "image": image,
        f"both (alpha {args.alpha:g})": args.alpha * text + (1 - args.alpha) * image,
    }
    both = list(kinds.values())[-1]
    summaries = [
        {"dataset": name, **summary(similarity, args.batches)} for name, similarity in kinds.items()
    ]
    shares = [
        {
            "similarity": cut,
            **{name: float((values > cut).mean()) for name, values in kinds.items()},
        }
        for cut in GRID
    ]
    values = suggestion(both)
    _print(summaries, shares, values, args.alpha)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        _write_csv(args.out / "similarities.csv", summaries)
        _write_csv(args.out / "shares.csv", shares)
        plot(kinds, values, args.out / "similarities.png")
        print(f"tables and plot: {args.out}", file=sys.stderr)
    return Exit.OK


def _print(
    summaries: list[dict], shares: list[dict], values: dict[str, float], alpha: float
) -> None:
    print("similarity of negatives     mean    50 %    75 %    90 %    95 %")
    for row in summaries:
        numbers = [
            row[name]
            for name in (
                "mean_similarity",
                "percentile_50",
                "percentile_75",
                "percentile_90",
                "percentile_95",
            )
        ]
        print(f"{row['dataset']:24s}" + "".join(f"{number:8.3f}" for number in numbers))
    print("\nshare of negatives above" + "".join(f"{row['similarity']:7.1f}" for row in shares))
    for name in list(shares[0])[1:]:
        print(f"{name:24s}" + "".join(f"{row[name]:7.3f}" for row in shares))
    shown = {name: f"{value:.3g}" for name, value in values.items()}
    print("\nto start with, debias (weighs down the most similar twentieth):")
    print(
        f"  --loss-fn sanw_debias --sanw-alpha {alpha:g} --sanw-delta {shown['delta']} --sanw-lambda {shown['lambda']}"
    )
    print("bandpass (from the upper quarter to the most similar hundredth):")
    print(
        f"  --loss-fn sanw_bandpass --sanw-alpha {alpha:g} --sanw-m1 {shown['m1']} --sanw-m2 {shown['m2']} --sanw-gamma {shown['gamma']}"
    )
