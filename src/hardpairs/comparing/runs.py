"""A run of the trainer for each loss, rate and seed: its command, its state, its best epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardpairs.comparing.parts import DataParts
from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import Exit, UserError, usage
from hardpairs.core.progress import check_recipe
from hardpairs.losses import LOSSES
from hardpairs.training.trainer_process import launch, one_machine

DONE, DIVERGED = "done", "diverged"
"""Files in a run's folder: it went through all epochs; its numbers stopped being finite."""
START = "start"
"""Name of the start model among the losses: the result without training."""


@dataclass(frozen=True)
class Budget:
    """The settings that all runs have in common.

    Attributes:
        model: Name of an OpenCLIP model.
        pretrained: Its weights, from which all runs start.
        steps: Optimizer steps of a run.
        epochs: Equal parts of a run; each ends with an evaluation of the validation data.
        batch_size: Rows of all processes together.
        m_per_class: Images of each class in a batch.
        metric: The metric of the validation data that chooses epoch and rate.
        processes: Processes of a run, on this machine.
        device: Device of the run.
        more: Further flags of the trainer, for every run.
        data: Fingerprints of the parts.
        weights: Identity of ``pretrained``.
    """

    model: str
    pretrained: str
    steps: int
    epochs: int
    batch_size: int
    m_per_class: int
    metric: str
    processes: int
    device: str
    more: tuple[str, ...]
    data: tuple[str, ...] = ()
    weights: str = ""

    def __post_init__(self) -> None:
        if self.steps % self.epochs:
            whole = self.steps // self.epochs * self.epochs or self.epochs
            raise usage(
                f"`steps` {self.steps} cannot be cut into {self.epochs} equal parts",
                fix=f"`steps` {whole}",
            )
        if self.batch_size % (self.m_per_class * self.processes):
            raise usage(
                f"`batch_size` {self.batch_size} does not hold whole groups of "
                f"{self.m_per_class} on {self.processes} processes"
            )


@dataclass(frozen=True)
class TrainingRun:
    """A run to make.

    Attributes:
        loss: Name of the loss.
        rate: Learning rate.
        seed: Seed of the run.
        folder: Folder of the comparison.
        more: Flags of the trainer for this loss alone.
    """

    loss: str
    rate: float
    seed: int
    folder: Path
    more: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the run."""
        return f"{self.loss}-lr{self.rate:g}-seed{self.seed}"

    @property
    def run(self) -> Path:
        """The trainer's folder."""
        return self.folder / "runs" / self.name

    @property
    def recipe(self) -> Path:
        """The file of the settings that the run was started with."""
        return self.folder / f"recipes/{self.name}.json"

    @property
    def results(self) -> Path:
        """The file of the results by query."""
        return self.folder / f"measured/{self.name}.npz"

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.run / "checkpoints/best.pt"

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """Return (epoch, metric on validation data) as far as the run went."""
        path = self.run / "checkpoints/results.jsonl"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        lines = map(json.loads, text.splitlines())
        return sorted({line["epoch"]: line[metric] for line in lines if metric in line}.items())

    def best(self, metric: str) -> tuple[int, float]:
        """Return (epoch, metric) of the best epoch, the first of equal ones."""
        return max(self.curve(metric), key=lambda point: (point[1], -point[0]))


def command(run: TrainingRun, parts: DataParts, budget: Budget) -> list[str]:
    """Return the trainer's arguments.

    All losses of a seed get the same batches, m images of each class, and as many steps.

    Args:
        run: The run.
        parts: The data.
        budget: The settings of all runs.
    """
    rows_per_process = budget.batch_size // max(budget.processes, 1)
    settings = {
        "train-data": parts.train,
        "val-data": parts.validation,
        "csv-separator": ",",
        "csv-group-key": parts.label_key,
        **({"caption-template": parts.caption_template} if parts.caption_template else {}),
        "model": budget.model,
        "pretrained": budget.pretrained,
        "loss-fn": run.loss,
        **({"embed": "image"} if LOSSES.load(run.loss).needs_labels else {}),
        "batching": "m-per-class",
        "m-per-class": budget.m_per_class,
        "batch-size": rows_per_process,
        "max-steps": budget.steps,
        "epochs": budget.epochs,
        "warmup": max(1, budget.steps // 10),
        "lr": f"{run.rate:g}",
        "seed": run.seed,
        "save-best": budget.metric,
        "save-frequency": 0,
        "logs": run.folder / "runs",
        "name": run.name,
        "device": budget.device,
        "log-every-n-steps": 10,
    }
    flags = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    resumed = ["--resume", "latest"] if run.run.is_dir() else []
    return [*flags, "--save-most-recent", *budget.more, *run.more, *resumed]


def is_done(run: TrainingRun, budget: Budget) -> bool:
    """Return whether the run has gone through all its epochs.

    Raises:
        UserError: Exit 4, it was begun with other settings or data.
    """
    check_recipe(run.recipe, _recipe(run, budget), kind="a run")
    return (run.run / DONE).is_file()


def _recipe(run: TrainingRun, budget: Budget) -> dict[str, Any]:
    return {
        "model": budget.model,
        "pretrained": budget.pretrained,
        "steps": budget.steps,
        "epochs": budget.epochs,
        "batch_size": budget.batch_size,
        "m_per_class": budget.m_per_class,
        "metric": budget.metric,
        "loss": run.loss,
        "rate": run.rate,
        "seed": run.seed,
        "more": [*budget.more, *run.more],
        "data": list(budget.data),
        "weights": budget.weights,
    }


def train(run: TrainingRun, parts: DataParts, budget: Budget) -> None:
    """Make the run, or continue it. One that diverged is not made again.

    Its own log is in its folder and in ``OUT/logs``.

    Args:
        run: The run.
        parts: The data.
        budget: The settings of all runs.

    Raises:
        UserError: The trainer failed; with its exit code and its last message.
    """
    if (run.run / DIVERGED).is_file():
        raise UserError(
            Exit.NON_FINITE,
            (run.run / DIVERGED).read_text(encoding="utf-8"),
            where=str(run.run),
            fix="without this folder it is made again",
        )
    log = run.folder / f"logs/{run.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    write_json(run.recipe, _recipe(run, budget))
    run.results.unlink(missing_ok=True)
    options = one_machine(budget.processes) if budget.processes > 1 else []
    with open(log, "ab") as file:
        code = launch(options, command(run, parts, budget), output=file)
    if code:
        message = f"the run {run.name} failed: {_last_error(log)}"
        if code == Exit.NON_FINITE:
            write_text(run.run / DIVERGED, message)
        raise UserError(code if code in set(Exit) else Exit.UNEXPECTED, message, where=str(log))
    (run.run / DONE).touch()


def _last_error(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("error:")]
    return errors[-1].removeprefix("error: ") if errors else "see its log"
