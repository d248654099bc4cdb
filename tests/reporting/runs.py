"""Small run folders, made without a model."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hardpairs.cli import report
from hardpairs.core.errors import Exit
from hardpairs.data.hard_pairs import HardPairTable, table_folder, write_helip, write_table
from hardpairs.data.opening import open_samples
from hardpairs.embedding.stream import Embedded
from hardpairs.evaluating.results import write_results
from hardpairs.evaluating.retrieval import evaluate_retrieval
from tests.helpers import picture

ROWS, WIDTH, NOISE = 48, 16, {"base": 0.75, "plain": 0.7, "hard": 0.35, "hard_sanw": 0.4}
ATTACK = '<script>alert("x")</script> & \u202egnp.'


def write_data(folder: Path) -> Path:
    """Write a CSV of 24 things with two images each; one caption is an attack, one image unreadable."""
    (folder / "images").mkdir()
    path = folder / "pairs.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title", "group"])
        for row in range(ROWS):
            image = folder / f"images/{row}.jpg"
            image.write_bytes(b"no picture" if row == 5 else picture(row))
            writer.writerow(
                [image, ATTACK if row // 2 == 3 else f"thing number {row // 2}", row // 2]
            )
    return path


def write_hard_pairs(data: Path) -> HardPairTable:
    """Write a table: each row's hard pairs are the six rows of the next three things; scores fall from .95."""
    indices = np.array(
        [[(2 * (row // 2) + 2 + step) % ROWS for step in range(6)] for row in range(ROWS)]
    )
    scores = np.tile(np.linspace(0.95, 0.5, 6, dtype=np.float32), (ROWS, 1))
    manifest = {
        "dataset_fingerprint": open_samples(data).fingerprint,
        "options": {"mining_method": "HPM", "duplicate_threshold": 0.98},
    }
    made = write_table(table_folder(data.parent, "pairs"), indices, scores, manifest)
    write_helip(data.parent, "pairs", made)
    return HardPairTable.open(table_folder(data.parent, "pairs"))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def embedded(method: str, seed: int) -> Embedded:
    """Return a model whose images lie near their captions, the nearer the less noise it has."""
    things = np.repeat(np.random.default_rng(0).normal(size=(ROWS // 2, WIDTH)), 2, axis=0)
    noise = np.random.default_rng([sum(map(ord, method)), seed]).normal(size=(ROWS, WIDTH))
    return Embedded(
        unit(things + 2 * NOISE.get(method, 0.5) * noise), unit(things), np.arange(ROWS), {}
    )


def params_of(data: Path, method: str, seed: int) -> str:
    options = {
        "train_data": data,
        "csv_separator": ",",
        "csv_img_key": "filepath",
        "csv_caption_key": "title",
        "csv_group_key": "group",
        "model": "hardpairs-test",
        "pretrained": "" if method == "base" else data.parent / "base/checkpoints/epoch_1.pt",
        "batch_size": 8,
        "world_size": 2,
        "accum_freq": 1,
        "seed": seed,
        "lr": 0.001,
        "max_steps": 20,
        "epochs": 1,
        "batching": "hard-pairs" if method.startswith("hard") else "random",
        "hard_dict_dir": data.parent / "pairs_hard_sample.csv"
        if method.startswith("hard")
        else None,
        "hard_per_target": 1,
        "hard_topk": 6,
        "empty_rows": "random",
        "loss_fn": "sanw_debias" if method == "hard_sanw" else "clip_ce",
        "sanw_delta": 0.6,
    }
    return "".join(f"{name}: {value}\n" for name, value in sorted(options.items()))


def write_run(data: Path, method: str, seed: int = 0, *, trained: bool = True) -> Path:
    """Write a run folder as training and evaluation leave it."""
    samples, folder = open_samples(data), data.parent / (method + (f"-seed{seed}" if seed else ""))
    beside = table_folder(data.parent, "pairs")
    table = HardPairTable.open(beside) if beside.is_dir() else None
    metrics, arrays = evaluate_retrieval(samples, embedded(method, seed), table)
    record = {
        "method": method,
        "seed": seed,
        "model": "hardpairs-test",
        "weights": "sha256:" + "0" * 64,
        "data": str(data),
        "dataset_fingerprint": samples.fingerprint,
        "ties": "pessimistic",
        **metrics,
    }
    write_results(folder, record, arrays)
    if trained:
        (folder / "params.txt").write_text(params_of(data, method, seed))
        header = "epoch,step,loss,temp,lr,w_mean\n"
        (folder / "weights.csv").write_text(
            "epoch,step\n" + "".join(f"{epoch},9" + ",5" * 20 + "\n" for epoch in range(2))
        )
        (folder / "metrics.csv").write_text(
            header + "".join(f"0,{i},{1 / (i + 1)},14.3,.001,.9\n" for i in range(0, 20, 5))
        )
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints/results.jsonl").write_text(
            '{"epoch": 1, "image_to_text_R@1": 0.5, "text_to_image_R@1": 0.4}\n{"epoch": 2, "im'
        )
    return folder


def write_four(data: Path) -> list[Path]:
    """Write a table and runs of the quickstart's four methods."""
    write_hard_pairs(data)
    return [write_run(data, method) for method in ("base", "plain", "hard", "hard_sanw")]


def make_report(folders: list[Path], *flags: str) -> str:
    """Run the report command and return the page."""
    out = folders[0].parent / "report.html"
    assert report.main([*map(str, folders), "--out", str(out), *flags]) == Exit.OK
    return out.read_text(encoding="utf-8")
