"""Runs on a small collection of photographs with several captions each, as tools.evaluate leaves them, made without a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hardpairs.data.opening import open_samples
from hardpairs.data.samples import Samples
from hardpairs.embedding.stream import Embedded
from hardpairs.evaluating.baselines import baselines, ceiling, miniclip
from hardpairs.evaluating.plot_embeddings import choose_embeddings, write_plot_embeddings
from hardpairs.evaluating.results import write_results
from hardpairs.evaluating.retrieval import evaluate_retrieval
from tests.helpers import picture

CAPTIONS = [
    ["red cup", "cup"],
    ["blue cup", "Cup"],
    ["a tree", "tall tree"],
    ["dog $x^2$", "dog"],
    ["dog in snow", "snow"],
    ["<b>hand</b>", "cup"],
]


def write_photos(folder: Path, captions: list[list[str]] | None = None) -> Path:
    """captions.json and its images."""
    captions = CAPTIONS if captions is None else captions
    (folder / "images").mkdir(parents=True, exist_ok=True)
    entries = []
    for number, texts in enumerate(captions):
        (folder / f"images/{number}.jpg").write_bytes(picture(number))
        entries += [{"file_name": f"{number}.jpg", "caption": text} for text in texts]
    (folder / "captions.json").write_text(json.dumps(entries))
    return folder / "captions.json"


def embedded(samples: Samples, *, noise: float, seed: int = 0, width: int = 8) -> Embedded:
    """A model whose captions lie near their images, the nearer the less noise; an image's rows are alike."""
    rng = np.random.default_rng(seed)
    _, place = np.unique(samples.images, return_inverse=True)
    image = np.random.default_rng(7).normal(size=(place.max() + 1, width))[place]
    text = image + noise * rng.normal(size=image.shape)
    image, text = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (image, text))
    return Embedded(image.astype(np.float32), text.astype(np.float32), np.arange(len(samples)), {})


def write_run(
    data: Path,
    name: str,
    method: str,
    *,
    seed: int = 0,
    noise: float = 1.0,
    full: bool = True,
    rows: Embedded | None = None,
) -> Path:
    """A run's folder; ``full`` with baselines and MiniCLIP's protocol."""
    samples, folder = open_samples(data), data.parent / name
    rows = embedded(samples, noise=noise, seed=seed) if rows is None else rows
    metrics, arrays = evaluate_retrieval(samples, rows, None)
    if full:
        metrics |= {
            **baselines(samples, rows.rows),
            "ceiling": ceiling(samples, rows.rows),
            "miniclip": miniclip(samples, rows),
        }
    facts = {
        "method": method,
        "seed": seed,
        "data": str(data),
        "dataset_fingerprint": samples.fingerprint,
        "ties": "pessimistic",
    }
    write_results(folder, {**facts, **metrics}, arrays)
    write_plot_embeddings(folder, choose_embeddings(samples, rows))
    return folder


def write_evaluated(data: Path) -> Path:
    """A trained and evaluated run; one picture is gone since."""
    folder = write_run(data, "run", "lstm", noise=1.5)
    write_logs(folder)
    (data.parent / "images/2.jpg").unlink()
    return folder


def write_logs(folder: Path, *, steps: int = 8, epochs: int = 3) -> None:
    """The step log and validation results of a training run; the last line of each is cut, as by a kill."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    lines = [f"{step // 4},{step},{4 / (step + 1)}" for step in range(steps)]
    (folder / "metrics.csv").write_text("\n".join(["epoch,step,loss", *lines]) + "\n9")
    found = [
        {"epoch": epoch, "text_to_image_R@1": 0.1 * epoch, "image_to_text_R@1": 0.2 + 0.05 * epoch}
        for epoch in range(1, epochs + 1)
    ]
    (folder / "checkpoints/results.jsonl").write_text(
        "".join(json.dumps(entry) + "\n" for entry in found) + '{"epoch": 9, "te'
    )
