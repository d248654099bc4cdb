"""The model of training: a pair's share of a step, the loss of a batch, the sum of gradients."""

from __future__ import annotations

from dataclasses import dataclass

from hardpairs.planning.cost import Cost
from hardpairs.planning.machine import Machine

COPIES = 4
"""Weights, gradients and the two moments of AdamW."""
SAVED = 3
"""What of these a checkpoint holds: no gradients."""


@dataclass(frozen=True)
class Run:
    """A training run.

    Attributes:
        batch_size: Rows of a batch in each process.
        epochs: Times that each row is a target.
        hard_per_target: Hard pairs that follow each target in its batch.
    """

    batch_size: int = 64
    epochs: int = 1
    hard_per_target: int = 1

    def steps(self, rows: int, processes: int) -> int:
        """Return the number of steps of an epoch."""
        return -(-rows * (1 + self.hard_per_target) // (self.batch_size * processes))


def training_cost(machine: Machine, rows: int, run: Run, *, processes: int = 1) -> Cost:
    """Return what training costs with the model that the machine was calibrated for.

    Every process computes the loss of the whole batch, as OpenCLIP does without ``--local-loss``.
    Gradients are added up in a ring, in which each process sends them almost twice. Nothing of it
    is taken to happen at once.

    Args:
        machine: The constants, with those of a model.
        rows: N pairs.
        run: The batches and epochs.
        processes: Processes, each with a batch of its own.
    """
    rates = machine.encoder
    assert rates is not None
    steps = run.epochs * run.steps(rows, processes)
    whole = run.batch_size * processes
    width = rates.image_width
    others = (processes - 1) / processes
    gradients = 2 * others * 4 * rates.parameters
    features = others * whole * 2 * 4 * width
    sent = steps * (gradients + features)
    checkpoint = SAVED * 4 * rates.parameters
    loss = whole**2 * (machine.loss.pair + width * machine.loss.component)
    return Cost(
        work="train",
        processes=processes,
        stages={
            "model": steps * run.batch_size * rates.training,
            "loss": steps * loss,
            "network": sent / machine.network_rate,
            "checkpoints": run.epochs * checkpoint / machine.write_rate,
        },
        memory=machine.process_bytes
        + COPIES * 4 * rates.parameters
        + int(run.batch_size * rates.training_bytes)
        + 3 * 4 * whole**2,
        written=run.epochs * checkpoint,
        kept=run.epochs * checkpoint,
        read=0,
        network=int(sent),
    )
