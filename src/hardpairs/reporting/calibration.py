"""Find out which SANW values affect which share of the negatives in random batches."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import write_text
from hardpairs.core.errors import bad_input
from hardpairs.core.vectors import unit_rows
from hardpairs.data.embeddings import Embeddings, open_embeddings

QUANTILES = (50, 75, 90, 95)
CUTS = (0.2, 0.3, 0.4)
"""Similarities of CLIPSE's fraction_ge columns."""

GRID = tuple(round(0.1 * step, 1) for step in range(11))
"""Similarities above which the share of negatives is given."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Statistics of SANW's values over random batches.

    Attributes:
        similarities: (P,) cosine similarities of negatives by kind: text, image, both.
        summaries: CLIPSE's columns of each kind.
        shares: Share of negatives above each similarity of ``GRID``, by kind.
        values: Values to start with, by parameter.
    """

    similarities: dict[str, np.ndarray]
    summaries: list[dict[str, Any]]
    shares: list[dict[str, float]]
    values: dict[str, float]


def calibrate(
    folder: str, *, alpha: float, batch_size: int, batches: int, seed: int
) -> Calibration:
    """Draw random batches, as training would, and measure the similarities of their negatives.

    Args:
        folder: Folder of stored embeddings of images and texts.
        alpha: Share of text similarity, from 0 to 1.
        batch_size: Rows of a batch.
        batches: Batches to draw.
        seed: Seed of the draw.

    Raises:
        UserError: Exit 3 when there are no negatives, or their similarities are not finite.
    """
    embeddings = open_embeddings(folder)
    if len(embeddings.rows) < 2:
        raise bad_input(f"{len(embeddings.rows)} embeddings make no pair", where=folder)
    text, image = negative_similarities(embeddings, batch_size, batches, seed)
    if not len(text) or not np.isfinite(text).all() or not np.isfinite(image).all():
        raise bad_input(
            "no finite similarities of negatives",
            where=folder,
            fix="embed again, or give rows their own groups",
        )
    both = alpha * text + (1 - alpha) * image
    kinds = {"text": text, "image": image, f"both (alpha {alpha:g})": both}
    return Calibration(
        kinds,
        [{"dataset": name, **summary(values, batches)} for name, values in kinds.items()],
        [
            {
                "similarity": cut,
                **{name: float((values > cut).mean()) for name, values in kinds.items()},
            }
            for cut in GRID
        ],
        suggestion(both),
    )


def negative_similarities(
    embeddings: Embeddings, batch_size: int, batches: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarities of all ordered pairs of rows in random batches.

    Known positives are left out.

    Args:
        embeddings: Stored embeddings of images and texts.
        batch_size: Rows of a batch.
        batches: Batches to draw.
        seed: Seed of the draw.

    Returns:
        Cosine similarities of texts and of images, (P,) float32 each.
    """
    rng = np.random.default_rng(seed)
    size = min(batch_size, len(embeddings.rows))
    text: list[np.ndarray] = []
    image: list[np.ndarray] = []
    for _ in range(batches):
        rows = np.sort(rng.choice(len(embeddings.rows), size, replace=False))
        negative = ~np.eye(size, dtype=bool)
        if embeddings.positives is not None:
            ids = embeddings.positives[rows]
            negative &= ~(ids[:, None, :] == ids[None, :, :]).any(axis=2)
        for source, similarities in ((embeddings.text, text), (embeddings.image, image)):
            unit = unit_rows(source[rows])
            similarities.append((unit @ unit.T)[negative])
    return np.concatenate(text), np.concatenate(image)


def summary(similarity: np.ndarray, batches: int) -> dict[str, float]:
    """Return CLIPSE's columns of one kind of similarity.

    Args:
        similarity: (P,) cosine similarities.
        batches: Batches that they come from.
    """
    quantiles = np.percentile(similarity, QUANTILES)
    return {
        "mean_similarity": float(similarity.mean()),
        "std_similarity": float(similarity.std()),
        "min_similarity": float(similarity.min()),
        "max_similarity": float(similarity.max()),
        **{
            f"percentile_{quantile}": float(value)
            for quantile, value in zip(QUANTILES, quantiles, strict=True)
        },
        **{
            f"fraction_ge_{str(cut).replace('.', '_')}": float((similarity >= cut).mean())
            for cut in CUTS
        },
        "total_pairs": len(similarity),
        "num_batches": batches,
    }


def suggestion(similarity: np.ndarray) -> dict[str, float]:
    """Return values to start with.

    Debias affects the most similar twentieth of the negatives, and halves the weight of the most
    similar thousandth. The band goes from the upper quarter to the most similar hundredth; its
    edges are soft over a tenth of its width.

    Args:
        similarity: (P,) cosine similarities.
    """
    upper, delta, high, top = np.percentile(similarity, [75, 95, 99, 99.9])
    return {
        "delta": float(delta),
        "lambda": math.log(2) / max(float(top - delta), 1e-3),
        "m1": float(upper),
        "m2": float(high),
        "gamma": max(float(high - upper) / 10, 1e-3),
    }


def write_calibration(out: Path, calibration: Calibration) -> None:
    """Write similarities.csv, shares.csv and similarities.png into a folder."""
    write_text(out / "similarities.csv", _csv(calibration.summaries))
    write_text(out / "shares.csv", _csv(calibration.shares))
    _plot(calibration, out / "similarities.png")


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _plot(calibration: Calibration, path: Path) -> None:
    from hardpairs.pages.charts import SERIES, SOFT, new_figure, save_png, styled

    with styled():
        figure = new_figure(4)
        axes = figure.subplots()
        for color, (name, values) in zip(SERIES, calibration.similarities.items(), strict=False):
            axes.hist(values, 100, density=True, histtype="step", label=name, color=color)
        for name in ("delta", "m1", "m2"):
            value = calibration.values[name]
            axes.axvline(value, color=SOFT, linestyle=":")
            axes.annotate(
                f"{name} {value:.2f}",
                (value, axes.get_ylim()[1]),
                rotation=90,
                va="top",
                ha="right",
                fontsize=8,
            )
        axes.set(xlabel="cosine similarity of negatives in random batches", ylabel="density")
        axes.legend()
        save_png(figure, path)


def terminal_text(calibration: Calibration) -> str:
    """Return the summaries and shares as text."""
    columns = ("mean_similarity", *(f"percentile_{quantile}" for quantile in QUANTILES))
    heads = ("mean", *(f"{quantile} %" for quantile in QUANTILES))
    lines = [f"{'similarity of negatives':24}" + "".join(f"{head:>8}" for head in heads)]
    lines += [
        f"{row['dataset']:24}" + "".join(f"{row[column]:8.3f}" for column in columns)
        for row in calibration.summaries
    ]
    shares = calibration.shares
    cuts = "".join(f"{row['similarity']:7.1f}" for row in shares)
    lines += ["", f"{'share of negatives above':24}{cuts}"]
    lines += [
        f"{name:24}" + "".join(f"{row[name]:7.3f}" for row in shares)
        for name in calibration.similarities
    ]
    return "\n".join(lines)
