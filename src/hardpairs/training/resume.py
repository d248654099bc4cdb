"""What a resumed run must have in common with the run that its checkpoint is of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hardpairs.batches import BATCHES
from hardpairs.core.components import OptionDeclaration
from hardpairs.core.errors import mismatch, usage
from hardpairs.core.flags import destination
from hardpairs.losses import LOSSES
from hardpairs.training.config import TrainingConfig
from hardpairs.training.saving import STEP

ORIGIN = "hardpairs"
"""Entry of a checkpoint of ours: where it comes from."""
FACTS, COUNTS = "run", "counts"
"""Entries in it: facts of the run, and the rows that it was trained on, as metrics.csv counts."""
LOSS_STATE = "loss"
"""Entry of a checkpoint of ours: what the loss keeps from step to step."""
FILES = ("data", "hard_pairs")
"""Facts that are the content of files: another one is refused with exit 4, not 2."""
PATHS = ("PATH", "FOLDER", "FILE")
"""Kinds of values that name files. A file may have been moved; what is in it counts."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Resumed:
    """The part of a checkpoint that a run takes over, beside model, optimizer and average.

    Attributes:
        start: Epoch (from 0) and optimizer step in it that training begins with.
        loss: State of the loss.
        counts: Rows that the run was trained on, of all processes.
    """

    start: tuple[int, int] = (0, 0)
    loss: dict[str, Any] | None = None
    counts: dict[str, int] = field(default_factory=dict)


def stored_facts(checkpoint: Mapping[str, Any]) -> Facts:
    """Return the facts of a checkpoint's run that it states."""
    origin = checkpoint.get(ORIGIN) or {}
    stated = {"data": origin["dataset_fingerprint"]} if "dataset_fingerprint" in origin else {}
    return {**stated, **origin.get(FACTS, {})}


def counts_in(checkpoint: Mapping[str, Any]) -> dict[str, int]:
    """Return the rows that a checkpoint's run was trained on."""
    return dict((checkpoint.get(ORIGIN) or {}).get(COUNTS, {}))


def run_facts(
    config: TrainingConfig, values: Mapping[str, Any], *, data: str, hard_pairs: str | None
) -> Facts:
    """Return what tells a run's batches, loss and rate from those of other runs, by option.

    Args:
        config: The run's configuration.
        values: OpenCLIP's options, with ``world_size``.
        data: Fingerprint of the training data.
        hard_pairs: Digest of the hard pairs that the run was given.
    """
    return {
        "data": data,
        "hard_pairs": hard_pairs,
        "batch_size": values["batch_size"] * values["world_size"] * values["accum_freq"],
        "seed": values["seed"],
        "lr": values["lr"],
        "loss_fn": config.loss_fn,
        "batching": config.batching,
        **_component_values(config),
    }


def _component_values(config: TrainingConfig) -> Facts:
    """Return the options of the loss and the batch maker, except for paths."""
    parts: list[tuple[Iterable[OptionDeclaration], Any]] = [
        (LOSSES[config.loss_fn].options, config.loss)
    ]
    if config.batching is not None:
        parts.append((BATCHES[config.batching].options, config.batches))
    return {
        destination(declared): getattr(part, declared.field)
        for options, part in parts
        for declared in options
        if declared.facts["metavar"] not in PATHS
    }


def check_same_run(stored: Facts, ours: Facts, changes: str | None, where: str) -> None:
    """Refuse to go on with another run than a checkpoint's, except for what is meant to differ.

    Args:
        stored: Facts of the checkpoint's run; what it does not say is not compared.
        ours: Facts of this run.
        changes: Names of facts that may differ, with commas between them.
        where: The checkpoint.

    Raises:
        UserError: exit 2 for an unknown name or another option, exit 4 for other files.
    """
    intended = {name.strip("- ").replace("-", "_") for name in (changes or "").split(",") if name}
    for name in sorted(intended - ours.keys()):
        raise usage(f"`resume_changes` {name}: no such fact", fix=f"some of {','.join(ours)}")
    for name, value in ours.items():
        if name in stored and stored[name] != value and name not in intended:
            error = mismatch if name in FILES else usage
            noun = {"data": "training data", "batch_size": "`batch_size` over all processes"}
            raise error(
                f"the checkpoint's run had {noun.get(name, name)} {stored[name]}, "
                f"and this one has {value}",
                where=where,
                why="it would be neither run, and see rows twice or never",
                fix=f"the same again; or `resume_changes` {name}, if it is meant",
            )


def first_step(checkpoint: Mapping[str, Any], stored: Facts, ours: Facts) -> int:
    """Return the step of the epoch that a resumed run begins with.

    With another batch size it is the one before which as many rows were seen.

    Args:
        checkpoint: The checkpoint.
        stored: Facts of its run.
        ours: Facts of this run.
    """
    step, size = int(checkpoint.get(STEP, 0)), int(ours["batch_size"])
    return step * int(stored.get("batch_size") or size) // size


def with_prefix(state: Mapping[str, Any], *, distributed: bool) -> dict[str, Any]:
    """Return weights by the names that a model on several processes has, or on one.

    Args:
        state: Weights by name.
        distributed: Whether the model is wrapped for several processes.
    """
    prefix = "module." if distributed else ""
    return {prefix + name.removeprefix("module."): value for name, value in state.items()}
