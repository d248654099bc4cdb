"""The end of MiniCLIP's one command: the best checkpoint is measured, and its figures are drawn."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hardpairs.core.atomic import write_json


def write_results(argv: Sequence[str]) -> None:
    """Measure and draw what a training command with ``--results-dir`` has trained.

    Args:
        argv: The arguments of the training command, in our spelling. Without the flag nothing is
            done.
    """
    args = _parse(argv)
    if args.results_dir is None:
        return
    from hardpairs.cli import evaluate, plot
    from hardpairs.evaluating.runs import read_run
    from hardpairs.photos.demonstration import newest_run

    kind = (args.preset or "").removeprefix("miniclip-")
    model, checkpoint = newest_run(args.logs / (args.name or ""), "")
    run = Path(checkpoint).parent.parent
    test = str(args.logs / "split/test.csv")
    named = [
        "--model",
        model,
        "--pretrained",
        checkpoint,
        "--data",
        test,
        "--method",
        kind or model,
    ]
    asked = ["--baselines", "--protocol", "both", "--results-dir", str(args.results_dir)]
    machine = ["--device", args.device] if args.device else []
    evaluate.main([*named, *asked, *machine, "--out", str(run)])
    plot.main([str(run), "--out", str(args.results_dir)])
    measured = read_run(run)
    history = training_history(measured.log, measured.validation)
    write_json(args.results_dir / f"training_history_{measured.method}.json", history)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--results-dir", type=Path)
    parser.add_argument("--logs", type=Path, default=Path("logs"))
    for flag in ("--name", "--preset", "--device"):
        parser.add_argument(flag)
    return parser.parse_known_args(argv)[0]


def training_history(
    log: Mapping[str, np.ndarray], validation: Sequence[Mapping[str, float]]
) -> dict[str, list[float]]:
    """Return the losses and R@1 of each epoch that was validated.

    Args:
        log: Columns of the step log; the loss of an epoch is the mean of its logged steps.
        validation: Results by epoch, counted from 1.
    """
    history: dict[str, list[float]] = {"epoch": [], "train_loss": [], "val_loss": [], "val_r1": []}
    for entry in validation:
        losses = log["loss"][log["epoch"] == entry["epoch"] - 1]
        history["epoch"].append(entry["epoch"])
        history["train_loss"].append(float(losses.mean()))
        history["val_loss"].append(entry["clip_val_loss"])
        history["val_r1"].append(100 * entry["text_to_image_R@1"])
    return history
