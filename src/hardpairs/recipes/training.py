"""Train heads over stored features with a setting, exactly as a run trains a model."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hardpairs.batches import BATCHES
from hardpairs.batches.base import BatchContext, BatchSampler
from hardpairs.batches.info import BatchInfo
from hardpairs.data.samples import Samples
from hardpairs.embedding.stream import Embedded
from hardpairs.evaluating.retrieval import evaluate_retrieval
from hardpairs.losses import LossContext
from hardpairs.losses.memory import MemoryBatch, in_batches
from hardpairs.recipes.features import Features
from hardpairs.recipes.heads import Heads
from hardpairs.recipes.recipe import Setting
from hardpairs.training.dataset import Batch, RunBatches
from hardpairs.training.run_loss import RunLoss, build_run_loss

WARMUP_SHARE = 0.1
"""Share of a run's steps in which the learning rate grows."""
ADAM: dict[str, Any] = {"betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.2, "fused": True}
"""OpenCLIP's optimizer for a ViT."""
CHOICE = "mean_MRR"
"""The metric of the validation data that chooses: it moves less by chance than R@1."""


@dataclass(frozen=True)
class Budget:
    """Amount of training of a run.

    Attributes:
        rows: Rows of a batch.
        steps: Optimizer steps, at most.
        evaluations: Evaluations of the validation data, evenly spread over the steps.
        rate: Learning rate.
        seed: Seed of the batches.
        patience: Evaluations without a better one after which the run ends, with the heads of the
            best one; the rate stays constant. ``None``: the run makes all steps, the rate falls to
            0 by cosine, and the heads are the last ones.
    """

    rows: int
    steps: int
    evaluations: int
    rate: float
    seed: int
    patience: int | None = None


@dataclass(frozen=True)
class Trained:
    """The result of a run.

    Attributes:
        state: State of the heads that are kept.
        metrics: Their metrics of the validation data.
        curve: (step, R@1, MRR) of each evaluation.
        seconds: Processor time of the training steps alone.
        steps: Optimizer steps that were made.
    """

    state: dict[str, torch.Tensor]
    metrics: dict[str, float]
    curve: list[tuple[int, float, float]]
    seconds: float
    steps: int


def train(
    heads: Heads,
    features: Features,
    setting: Setting,
    train_rows: np.ndarray,
    val_rows: np.ndarray,
    budget: Budget,
) -> Trained:
    """Train heads.

    Args:
        heads: The start; not changed.
        features: Features of all rows.
        setting: The setting, with the paths of its files.
        train_rows: Rows to train on.
        val_rows: Rows to choose by.
        budget: How much to train.

    Raises:
        UserError: Exit 2 for a batch that does not fit the rows; exit 6 when a loss is not finite.
    """
    start, heads = heads, copy.deepcopy(heads)
    samples = only_rows(features.samples, train_rows)
    sampler = _sampler(setting, samples, budget)
    loss = _loss(setting, samples, features, start, budget.steps / len(sampler))
    optimizer = torch.optim.AdamW(heads.parameters(), lr=budget.rate, **ADAM)
    stops = _stops(budget)
    kept = measure(heads, features, val_rows)
    curve, state = [_point(0, kept)], copy.deepcopy(heads.state_dict())
    seconds, since_best, step = 0.0, 0, 0
    batches = _batches(sampler, features, len(sampler))
    every = getattr(setting.config.loss, "memory_every", None)
    for stop in stops:
        started = time.process_time()
        for batch in (next(batches) for _ in range(stop - step)):
            if every is not None and step % (every * len(sampler)) == 0:
                loss.loss.hold(_all_rows(heads, features, train_rows))
            _set_rate(optimizer, budget, step)
            _step(heads, loss, optimizer, batch)
            step += 1
        seconds += time.process_time() - started
        measured = measure(heads, features, val_rows)
        curve.append(_point(step, measured))
        since_best += 1
        if budget.patience is None or measured[CHOICE] > kept[CHOICE]:
            kept, state, since_best = measured, copy.deepcopy(heads.state_dict()), 0
        if budget.patience is not None and since_best >= budget.patience:
            break
    return Trained(state, kept, curve, seconds, step)


def measure(heads: Heads, features: Features, rows: np.ndarray) -> dict[str, float]:
    """Return retrieval metrics of some rows, with the means of both directions."""
    return measure_queries(heads, features, rows)[0]


def measure_queries(
    heads: Heads, features: Features, rows: np.ndarray
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return retrieval metrics of some rows, and the ranks by query.

    Args:
        heads: The heads.
        features: Features of all rows.
        rows: (M,) row numbers, ascending.

    Returns:
        Metrics of ``with_means``, and arrays of ``evaluate_retrieval``.
    """
    with torch.no_grad():
        image, text, _ = heads(features.image[rows], features.text[rows])
    embedded = Embedded(image.numpy(), text.numpy(), rows, {})
    metrics, arrays = evaluate_retrieval(features.samples, embedded, None)
    return with_means(metrics), arrays


def with_means(metrics: dict[str, float]) -> dict[str, float]:
    """Return retrieval metrics with ``mean_R@1`` and ``mean_MRR``, the means of both directions."""
    means = {
        f"mean_{name}": (metrics[f"image_to_text_{name}"] + metrics[f"text_to_image_{name}"]) / 2
        for name in ("R@1", "MRR")
    }
    return {**metrics, **means}


def only_rows(samples: Samples, rows: np.ndarray) -> Samples:
    """Return the data set with all other rows rejected."""
    some = copy.copy(samples)
    others = np.setdiff1d(np.arange(len(samples)), rows)
    some.rejected = {**dict.fromkeys(others.tolist(), "another_part"), **samples.rejected}
    return some


def _sampler(setting: Setting, samples: Samples, budget: Budget) -> BatchSampler:
    config = setting.config
    context = BatchContext(samples, budget.rows, seed=budget.seed)
    maker = BATCHES.load(str(config.batching))
    sampler: BatchSampler = maker.from_config(config.batches, context)
    return sampler


def _loss(
    setting: Setting, samples: Samples, features: Features, start: Heads, epochs: float
) -> RunLoss:
    config = setting.config
    hard_per_target = getattr(config.batches, "hard_per_target", 0)
    context = LossContext(hard_per_target=hard_per_target, epochs=epochs)
    return build_run_loss(
        config, samples, context, start_model=lambda: _start_features(start, features)
    )


def _start_features(
    start: Heads, features: Features
) -> Callable[[Batch], tuple[torch.Tensor, torch.Tensor]]:
    """Return a source of the start heads' embeddings of a batch."""

    def embeddings(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            image, text, _ = start(batch.images, batch.texts)
        return image, text

    return embeddings


def _batches(sampler: BatchSampler, features: Features, per_epoch: int) -> Iterator[Batch]:
    """Yield batches without end; the "images" and "texts" of a batch are stored features."""
    plans, group_ids = RunBatches(sampler, per_epoch), features.samples.positives
    while True:
        for plan in plans:
            yield _batch(plan, features, group_ids)
        plans.epoch += 1


def _batch(plan: BatchInfo, features: Features, group_ids: np.ndarray) -> Batch:
    rows = np.asarray(plan.rows)
    info = plan.replaced(rows, (), group_ids[rows]).as_tensors()
    return Batch(features.image[rows], features.text[rows], info)


def _step(heads: Heads, loss: RunLoss, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    loss.take(batch)
    parts = loss(*heads(batch.images, batch.texts), output_dict=True)
    optimizer.zero_grad()
    total: Any = torch.stack(list(parts.values())).sum()
    total.backward()
    optimizer.step()
    heads.clamp_scale()


def _stops(budget: Budget) -> list[int]:
    """Return the steps after which the validation data is evaluated, ascending."""
    parts = np.linspace(0, budget.steps, budget.evaluations + 1)[1:]
    return sorted({max(1, round(part)) for part in parts})


def _all_rows(heads: Heads, features: Features, rows: np.ndarray) -> list[MemoryBatch]:
    """Return what the heads make of all rows, as a loss holds it."""
    with torch.no_grad():
        image, text, _ = heads(features.image[rows], features.text[rows])
    group_ids = features.samples.positives[rows]
    return in_batches(image, text, BatchInfo(rows=rows, group_ids=group_ids).as_tensors())


def _set_rate(optimizer: torch.optim.Optimizer, budget: Budget, step: int) -> None:
    warmup = max(1, round(WARMUP_SHARE * budget.steps))
    if budget.patience is not None:
        warmup = min(warmup, 50)
    rate = budget.rate * min(1.0, (step + 1) / warmup)
    if budget.patience is None and step >= warmup:
        progress = (step - warmup) / max(1, budget.steps - warmup)
        rate = budget.rate * (1 + math.cos(math.pi * progress)) / 2
    for group in optimizer.param_groups:
        group["lr"] = rate


def _point(step: int, metrics: dict[str, float]) -> tuple[int, float, float]:
    return step, metrics["mean_R@1"], metrics[CHOICE]
