"""What is known before a training run: facts of its hard pairs or embeddings, and advice."""

from __future__ import annotations

from hardpairs.batches.sources import open_stored_embeddings
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.samples import Samples
from hardpairs.training.config import TrainingConfig
from hardpairs.training.measured_gains import GAINS
from hardpairs.training.readiness import Readiness, readiness, readiness_of_table

MOST_PAIRS = 1_000_000
"""Pairs up to which stored embeddings are looked at: more take too long to open."""
MOST_ROWS = 2000
"""Random rows that are looked at, so that it takes a second."""

BATCHES = {"random": None, "hard-pairs": "hard-pairs", "neighbourhood": "neighborhood"}
"""What each measured batch maker adds to a recipe's name."""
LOSSES = {"clip_ce": None, "global": "global", "sanw_debias": "sanw"}
"""What each measured loss adds to it."""


def before_training(
    config: TrainingConfig, samples: Samples, table: HardPairTable | None, batch_size: int
) -> list[str]:
    """Return lines for a run's log: facts, advice, and what its recipe has gained elsewhere.

    Args:
        config: The run's options.
        samples: Its data.
        table: Its hard pairs.
        batch_size: Rows of a global batch.

    Returns:
        Nothing for a run that has neither hard pairs nor stored embeddings.
    """
    folder = _embeddings(config) if len(samples) <= MOST_PAIRS else None
    if folder is not None:
        embeddings = open_stored_embeddings(folder, samples)
        facts = readiness(embeddings, batch_size, table=table, most_rows=MOST_ROWS)
    elif table is not None and len(samples) > 1:
        count = len(samples) - len(samples.rejected)
        facts = readiness_of_table(count, batch_size, table)
    else:
        return []
    lines = [_facts_line(facts, folder), f"Advice: {facts.advice()} --no-advice hides these lines."]
    return [*lines, *_gain_lines(recipe_of(config))]


def _embeddings(config: TrainingConfig) -> str | None:
    """Return the first folder of stored embeddings that the batches or the loss read."""
    of_batches = getattr(config.batches, "embeddings", None)
    return of_batches or next(iter(config.stored_features.values()), None)


def _facts_line(facts: Readiness, folder: str | None) -> str:
    parts = [
        f"{facts.num_pairs:,} pairs in batches of {facts.batch_size:,}: a random batch holds one "
        f"of a pair's ten hardest in {facts.meets_hardest:.0%}"
    ]
    if facts.solved_in_batch is not None:
        parts.append(
            f"{facts.solved_in_batch:.0%} of the pairs are solved among its rows, by {folder}"
        )
    if facts.look_alikes is not None:
        parts.append(f"{facts.look_alikes:.0%} of the hardest pairs look or read alike")
    return "; ".join(parts) + "."


def recipe_of(config: TrainingConfig) -> str | None:
    """Return the name in ``GAINS`` of what a run does; ``None`` for what was not measured."""
    others = any(getattr(config.loss, name, None) for name in ("margin_weight", "memory_every"))
    if config.batching not in BATCHES or config.loss_fn not in LOSSES or others:
        return None
    memory = "memory" if getattr(config.loss, "memory_batches", None) else None
    if getattr(config.loss, "memory_match", False):
        memory = "memory-matched"
    by_loss = LOSSES[config.loss_fn]
    if config.loss_fn == "clip_ce" and getattr(config.loss, "hardness_weight", None):
        by_loss = "hardness"
    name = "-".join(part for part in (BATCHES[config.batching], memory, by_loss) if part)
    return name if name in GAINS else None


def _gain_lines(recipe: str | None) -> list[str]:
    """Return a line with the gains of a recipe by data set; none where nothing was measured."""
    gains = GAINS.get(recipe or "")
    if not gains:
        return []
    told = ", ".join(
        f"{name} {gain:+.2f} [{low:+.2f}, {high:+.2f}]" for name, (gain, low, high) in gains.items()
    )
    unclear = all(low <= 0 <= high for _, low, high in gains.values())
    end = "; no significant difference to plain training" if unclear else ""
    where = f"Measured for {recipe} on heads and small sets, points of R@1 over plain batches"
    return [f"{where}: {told}{end}."]
