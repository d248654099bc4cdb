"""One run of the trainer for each loss, rate and seed: its command, whether it is done, and how good its best epoch is on validation data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hardpairs.comparing.parts import Parts
from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import Exit, UserError
from hardpairs.core.progress import check_recipe
from hardpairs.training.launch import launch, one_machine

DONE, DIVERGED = "done", "diverged"
"""Files in a run's folder: it went through all its epochs; it came to numbers that are not finite, and would again."""
START = "start"
"""The name of the start model among the losses: what no training gives."""


@dataclass(frozen=True)
class Budget:
    """What all runs have in common.

    Attributes:
        steps: optimizer steps in all. epochs: how often the validation data is looked at. metric: that the epoch is chosen by.
        more: further flags of the trainer, for every run. data: fingerprints of the parts. weights: ``weights_identity`` of ``pretrained``.
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


@dataclass(frozen=True)
class Plan:
    """A run to make; ``more``: flags of the trainer for this loss alone."""

    loss: str
    rate: float
    seed: int
    folder: Path
    more: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.loss}-lr{self.rate:g}-seed{self.seed}"

    @property
    def run(self) -> Path:
        return self.folder / "runs" / self.name

    @property
    def recipe(self) -> Path:
        return self.folder / f"recipes/{self.name}.json"

    @property
    def measured(self) -> Path:
        return self.folder / f"measured/{self.name}.npz"

    @property
    def best(self) -> Path:
        return self.run / "checkpoints/best.pt"


def command(plan: Plan, parts: Parts, budget: Budget) -> list[str]:
    """The trainer's arguments: the same batches for every loss of a seed, m pictures of each class, and the same number of steps."""
    metric = (
        ()
        if plan.loss in ("clip_ce", "siglip", "sanw_debias", "sanw_bandpass")
        else ("--embed", "image")
    )
    flags = [
        *(
            "--train-data",
            str(parts.train),
            "--val-data",
            str(parts.validation),
            "--csv-separator",
            ",",
            "--csv-label-key",
            parts.label_key,
        ),
        *(
            "--model",
            budget.model,
            "--pretrained",
            budget.pretrained,
            "--loss-fn",
            plan.loss,
            *metric,
        ),
        *(
            "--batching",
            "m-per-class",
            "--m-per-class",
            str(budget.m_per_class),
            "--batch-size",
            str(budget.batch_size // max(budget.processes, 1)),
        ),
        *(
            "--max-steps",
            str(budget.steps),
            "--epochs",
            str(budget.epochs),
            "--warmup",
            str(max(1, budget.steps // 10)),
        ),
        *(
            "--lr",
            f"{plan.rate:g}",
            "--seed",
            str(plan.seed),
            "--save-best",
            budget.metric,
            "--save-frequency",
            "0",
            "--save-most-recent",
        ),
        *(
            "--logs",
            str(plan.folder / "runs"),
            "--name",
            plan.name,
            "--device",
            budget.device,
            "--log-every-n-steps",
            "10",
        ),
        *(*budget.more, *plan.more),
    ]
    return [*flags, "--resume", "latest"] if plan.run.is_dir() else flags


def is_done(plan: Plan, budget: Budget) -> bool:
    """Whether the run has gone through all its epochs.

    Raises:
        UserError: exit 4 when it was made, or begun, with other settings or data.
    """
    check_recipe(plan.recipe, _recipe(plan, budget), kind="a run")
    return (plan.run / DONE).is_file()


def _recipe(plan: Plan, budget: Budget) -> dict:
    numbers = {
        name: getattr(budget, name)
        for name in (
            "model",
            "pretrained",
            "steps",
            "epochs",
            "batch_size",
            "m_per_class",
            "metric",
        )
    }
    own = {
        "loss": plan.loss,
        "rate": plan.rate,
        "seed": plan.seed,
        "more": [*budget.more, *plan.more],
    }
    return {**numbers, **own, "data": list(budget.data), "weights": budget.weights}


def train(plan: Plan, parts: Parts, budget: Budget) -> None:
    """Makes the run, or goes on with it; its own log is in its folder and in ``OUT/logs``. One that diverged is not made again.

    Raises:
        UserError: with the trainer's exit code and its last words, when it fails.
    """
    if (plan.run / DIVERGED).is_file():
        raise UserError(
            Exit.NON_FINITE,
            (plan.run / DIVERGED).read_text(encoding="utf-8"),
            where=str(plan.run),
            fix="without this folder it is made again",
        )
    log = plan.folder / f"logs/{plan.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    write_json(plan.recipe, _recipe(plan, budget))
    plan.measured.unlink(missing_ok=True)
    options = one_machine(budget.processes) if budget.processes > 1 else []
    with open(log, "ab") as file:
        code = launch(options, command(plan, parts, budget), output=file)
    if code:
        words = [
            line
            for line in log.read_text(errors="replace").splitlines()
            if line.startswith("error:")
        ][-1:]
        told = (
            f"the run {plan.name} failed: {(words or ['see its log'])[0].removeprefix('error: ')}"
        )
        if code == Exit.NON_FINITE:
            write_text(plan.run / DIVERGED, told)
        raise UserError(Exit(code) if code in set(Exit) else Exit.UNEXPECTED, told, where=str(log))
    (plan.run / DONE).touch()


def curve(plan: Plan, metric: str) -> list[tuple[int, float]]:
    """(epoch, metric on validation data) of a run, as far as it went."""
    path = plan.run / "checkpoints/results.jsonl"
    lines = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if path.is_file()
        else []
    )
    return sorted({line["epoch"]: line[metric] for line in lines if metric in line}.items())
