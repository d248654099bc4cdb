"""What the trainer costs a small collection: the preset on 210 pictures with 420 captions, against
a bare loop over the same towers and data.

    python -m benchmarks.photos_training --out benchmarks/results/photos_training.json

The bare loop has what a training needs and nothing else: MiniCLIP's pictures through PIL and the
same transform, torch's DataLoader with as many workers, cross entropy, AdamW, clipping, a schedule.
Both take the same number of full batches in an epoch. (Ours fills the last one up with pictures
from the start of the pass; a loop that leaves it short has fewer to do, and one that drops it fewer
still.) Rounds are interleaved. ``loops`` is the time between the first and last step of each epoch,
waiting for data included; ``run`` is the whole process: imports, start, validation and checkpoints,
which the bare loop has, too; ``cpu`` is what the processors spent on it, which other programs on
the machine disturb least.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json

ROOT = Path(__file__).resolve().parent.parent
IMAGES = 210


def make_collection(folder: Path, size: int) -> None:
    """210 pictures, each in its own emoji's likeness and of ``size`` pixels, and a captions.json
    with two captions of each.
    """
    from PIL import Image

    from hardpairs.cli.demo_data import main as demo_data

    demo_data(["--out", str(folder / "demo"), "--pairs", str(IMAGES), "--views", "1"])
    with open(folder / "demo/train.tsv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["caption"]]
    entries = []
    for row in rows:
        name = row["url"].rpartition("/")[2]
        if (
            len(entries) == 2 * IMAGES or not name[0].isdigit()
        ):  # the others are the broken entries of a real table
            continue
        (folder / "images").mkdir(exist_ok=True)
        with Image.open(folder / "demo/images/train" / name) as image:
            image.convert("RGB").resize((size, size)).save(folder / "images" / name, quality=90)
        entries += [
            {"file_name": name, "caption": caption}
            for caption in (row["caption"], f"a photo of {row['caption']}")
        ]
    assert len(entries) == 2 * IMAGES
    write_json(folder / "captions.json", entries)


def flags_of(folder: Path, options: argparse.Namespace, name: str) -> list[str]:
    """The trainer's command line; the bare loop, which does all its epochs, takes its settings from
    the same.
    """
    return [
        *(
            "--preset",
            options.preset,
            "--captions-json",
            str(folder / "captions.json"),
            "--logs",
            str(folder / "logs"),
            "--name",
            name,
        ),
        *(
            "--epochs",
            str(options.epochs),
            "--workers",
            str(options.workers),
            "--device",
            options.device,
            "--log-every-n-steps",
            "1",
        ),
        *("--patience", str(options.epochs)),
        *(("--model", options.model) if options.model else ("--image-weights", "none")),
    ]


def train(folder: Path, options: argparse.Namespace, name: str) -> dict[str, float]:
    """Seconds of the trainer's loops and of its whole run."""
    spent = timed([sys.executable, "-m", "training.main", *flags_of(folder, options, name)])
    with open(folder / f"logs/{name}/metrics.csv") as file:
        return {"loops": sum(float(row["batch_time"]) for row in csv.DictReader(file)), **spent}


def bare(folder: Path, options: argparse.Namespace, name: str) -> dict[str, float]:
    """Seconds of the bare loop's loops and of its whole run, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.photos_training",
        "--child",
        str(folder / f"{name}.json"),
        *flags_of(folder, options, name),
    ]
    spent = timed(command)
    return {"loops": json.loads((folder / f"{name}.json").read_text()), **spent}


def timed(command: list[str]) -> dict[str, float]:
    """Seconds of a process on the clock, and those of the processors that it and its workers had."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "run": time.perf_counter() - start,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def bare_loop(flags: list[str]) -> float:
    """Trains, validates and saves as the flags say; seconds of the training loops."""
    import torch

    from hardpairs.cli.command_line import command_arguments
    from hardpairs.training.upstream import patched

    args = patched("params").parse_args(command_arguments("train", flags))
    torch.manual_seed(args.seed)
    model, loader, val_loader = model_and_loaders(args)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=args.lr,
        betas=(args.beta1, args.beta2),
        eps=args.eps,
        weight_decay=args.wd,
    )
    total, seconds = len(loader) * args.epochs, 0.0
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _rate(step, args.warmup, total)
    )
    for epoch in range(args.epochs):
        model.train()
        start = time.perf_counter()
        for batch in loader:
            bare_step(model, batch, optimizer, args)
            schedule.step()
        seconds += time.perf_counter() - start
        model.eval()
        with torch.no_grad():
            for images, tokens in val_loader:
                model(images.to(args.device), tokens.to(args.device))
        if (epoch + 1) % args.save_frequency == 0 or epoch + 1 == args.epochs:
            torch.save(
                {"model": model.state_dict(), "optimizer": optimizer.state_dict()},
                Path(args.logs) / f"{args.name}.pt",
            )
    return seconds


def model_and_loaders(args: Any) -> tuple[Any, Any, Any]:
    """Return the model, and loaders of the training and validation pictures with their tokens."""
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset, RandomSampler

    from hardpairs.data.opening import open_samples
    from hardpairs.models.create import create_model_and_transforms
    from hardpairs.models.model_config import make_tokenizer, vocabulary_of

    train_rows, val_rows = open_samples(args.train_data), open_samples(args.val_data)
    words = vocabulary_of(args.model, train_rows.captions)
    model, augment, transform = create_model_and_transforms(
        args.model, vocabulary=words, device=args.device
    )
    if getattr(args, "augment", None):
        from hardpairs.training.augment import augmented

        augment = augmented(args.augment, transform)
    tokenizer = make_tokenizer(args.model, words)

    class Photos(Dataset):
        def __init__(self, samples, change: Callable) -> None:
            self.paths = [samples.image_path(row) for row in range(len(samples))]
            self.tokens, self.change = tokenizer(list(samples.captions)), change

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, row: int):
            return self.change(Image.open(self.paths[row]).convert("RGB")), self.tokens[row]

    photos = Photos(train_rows, augment)
    steps = math.ceil(len(photos) / args.batch_size)
    sampler = RandomSampler(photos, num_samples=steps * args.batch_size)
    options = {"batch_size": args.batch_size, "num_workers": args.workers}
    loader = DataLoader(photos, sampler=sampler, persistent_workers=args.workers > 0, **options)
    return model, loader, DataLoader(Photos(val_rows, transform), **options)


def bare_step(model: Any, batch: Any, optimizer: Any, args: Any) -> None:
    """Train one step with CLIP's loss."""
    import torch
    from torch.nn import functional

    images, tokens = batch
    image_features, text_features, scale = model(images.to(args.device), tokens.to(args.device))
    logits = scale * image_features @ text_features.T
    right = torch.arange(len(logits), device=args.device)
    loss = (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), args.grad_clip_norm)
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, math.log(100))
    loss.item()  # a loop that shows its loss waits for each step, as the trainer does here


def _rate(step: int, warmup: int, total: int) -> float:
    """Share of the learning rate: linear, then half a cosine to 0."""
    return (
        (step + 1) / warmup
        if step < warmup
        else 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))
    )


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        write_json(sys.argv[2], bare_loop(sys.argv[3:]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="miniclip-lstm")
    parser.add_argument(
        "--model", help="another than the preset's: miniclip-test tries this out in a minute"
    )
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved pairs of runs")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--photo-size", type=int, default=512, help="pixels of the pictures' sides on the disk"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    sides = {"trainer": train, "bare": bare}
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_collection(folder, args.photo_size)
        for number in range(args.rounds):
            order = list(sides) if number % 2 == 0 else list(reversed(sides))
            measured = {side: sides[side](folder, args, f"{side}{number}") for side in order}
            rounds.append(measured)
            told = ", ".join(
                f"{side} loops {measured[side]['loops']:.1f} s, run {measured[side]['run']:.1f} s"
                for side in sides
            )
            print(told, file=sys.stderr, flush=True)
    ratios = {
        what: statistics.median(r["trainer"][what] / r["bare"][what] for r in rounds)
        for what in ("loops", "run", "cpu")
    }
    print(
        f"trainer to bare loop, median of {args.rounds}: "
        + ", ".join(f"{what} {ratio:.3f}" for what, ratio in ratios.items())
    )
    environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "")}
    command = " ".join(["python -m benchmarks.photos_training", *sys.argv[1:]])
    write_json(
        args.out,
        {
            "command": command,
            "machine": describe_machine(),
            **environment,
            "rounds": rounds,
            "median_ratios": ratios,
        },
    )


if __name__ == "__main__":
    main()
