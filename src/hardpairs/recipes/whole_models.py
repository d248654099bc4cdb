"""Runs that train the whole model by the trainer, in place of heads over stored features."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import Exit, UserError
from hardpairs.data.tables import is_table, separator_of
from hardpairs.embedding.stream import Embedded, encode_batches
from hardpairs.evaluating.retrieval import evaluate_retrieval
from hardpairs.models.encoders.openclip import from_encoder
from hardpairs.models.load import load_encoder
from hardpairs.recipes.recipe import Setting
from hardpairs.recipes.start_model import write_start_model
from hardpairs.recipes.training import WARMUP_SHARE, with_means
from hardpairs.training.samples import SAMPLE_FLAGS
from hardpairs.training.trainer_process import launch, one_machine

if TYPE_CHECKING:
    from hardpairs.recipes.plan import RunName
    from hardpairs.recipes.study import Study


@dataclass(frozen=True)
class WholeModel:
    """The model that ``--full`` trains, and how.

    Attributes:
        model: Name of an OpenCLIP model.
        pretrained: Its weights, from which all runs start, or their towers do.
        weights: Identity of these weights.
        processes: Processes of a run, on this machine.
        device: Device of a run.
        more: Further flags of the trainer, for every run.
        on_heads: Whether the embeddings are features of the model's towers, before its projections.
            The runs of a split start with its base's heads as projections, then.
    """

    model: str
    pretrained: str
    weights: str
    processes: int = 1
    device: str = "cpu"
    more: list[str] = field(default_factory=list)
    on_heads: bool = False


def train_model(study: Study, run: RunName, setting: Setting, whole: WholeModel) -> None:
    """Make a run by the trainer and measure its last checkpoint on the validation rows.

    A run that was stopped goes on from its last epoch. Its log is beside its record.

    Args:
        study: The study.
        run: Which run.
        setting: Its setting, with the files that it reads.
        whole: The model.

    Raises:
        UserError: The trainer failed; with its exit code.
    """
    folder = study.folder(run.split) / "runs"
    logs, log = folder / "logs", folder / f"{run.stem}.log"
    facts: dict[str, Any] = {
        "setting": setting.text,
        "rows": study.plan.batch_size * setting.batch_factor,
        "rate": run.rate,
    }
    steps = study.steps(run.split, setting)
    logs.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    options = one_machine(whole.processes) if whole.processes > 1 else []
    with open(log, "ab") as file:
        code = launch(options, _flags(study, run, setting, whole, steps), output=file)
    if code == Exit.NON_FINITE:
        write_json(folder / f"{run.stem}.json", {**facts, "diverged": f"see {log.name}"})
        return
    if code:
        raise UserError(
            code if code in set(Exit) else Exit.UNEXPECTED,
            f"the run {run.stem} failed",
            where=str(log),
            fix="the last lines of this file say why; the same command goes on",
        )
    seconds = time.perf_counter() - started
    checkpoint = folder / f"{run.stem}.pt"
    os.replace(logs / run.stem / "checkpoints/epoch_latest.pt", checkpoint)
    shutil.rmtree(logs / run.stem)
    metrics, _ = measure_model(study, checkpoint, study.fold(run.split).val, whole)
    record = {"metrics": metrics, "curve": [], "seconds": seconds, "steps": steps}
    write_json(folder / f"{run.stem}.json", {**facts, **record})


def start_model(study: Study, split: int, whole: WholeModel) -> str:
    """Return the weights that the runs of a split start from.

    Args:
        study: The study.
        split: The split.
        whole: The model.
    """
    if not whole.on_heads:
        return whole.pretrained
    path = study.folder(split) / "start.pt"
    if not path.is_file():
        write_start_model(path, whole.model, whole.pretrained, study.base(split))
    return str(path)


def measure_model(
    study: Study, checkpoint: str | Path, rows: np.ndarray, whole: WholeModel
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return retrieval metrics of some rows by a checkpoint, and the ranks by query.

    Args:
        study: The study.
        checkpoint: Weights of the model.
        rows: (M,) row numbers, ascending.
        whole: The model.
    """
    encoder = load_encoder(whole.model, str(checkpoint), device=whole.device)
    encoders = from_encoder(encoder, whole.device)
    size = study.plan.batch_size
    batches = [rows[start : start + size].tolist() for start in range(0, len(rows), size)]
    parts = encode_batches(study.samples, encoders, batches, workers=0, device=whole.device)
    metrics, arrays = evaluate_retrieval(study.samples, Embedded.joined(list(parts)), None)
    return with_means(metrics), arrays


def _flags(
    study: Study, run: RunName, setting: Setting, whole: WholeModel, steps: int
) -> list[str]:
    """Return the trainer's flags of a run."""
    folder = study.folder(run.split)
    reject = folder / "not-training.txt"
    if not reject.is_file():
        others = np.setdiff1d(np.arange(len(study.samples)), study.fold(run.split).train)
        write_text(reject, "".join(f"{row}\n" for row in others.tolist()))
    options = dict(study.plan.sample_options)
    if is_table(study.plan.data) and options["separator"] is None:  # OpenCLIP's default is a tab
        required = (options["image_key"], options["caption_key"])
        options["separator"] = separator_of(study.plan.data, required)
    read = {flag: options.get(name) for name, flag in SAMPLE_FLAGS.items()}
    settings = {
        "--train-data": study.plan.data,
        "--reject": reject,
        "--model": whole.model,
        "--pretrained": start_model(study, run.split, whole),
        "--batch-size": study.plan.batch_size * setting.batch_factor // whole.processes,
        "--max-steps": steps,
        "--lr": f"{run.rate:g}",
        "--warmup": max(1, round(WARMUP_SHARE * steps)),
        "--seed": run.seed,
        "--logs": folder / "runs/logs",
        "--name": run.stem,
        "--device": whole.device,
        **read,
    }
    words = [
        str(word)
        for flag, value in settings.items()
        if value not in (None, (), False)
        for word in ((flag,) if value is True else (flag, value))
    ]
    is_begun = (folder / "runs/logs" / run.stem).is_dir()
    resumed = ["--resume", "latest"] if is_begun else []
    return [*words, "--save-most-recent", *setting.words, *whole.more, *resumed]
