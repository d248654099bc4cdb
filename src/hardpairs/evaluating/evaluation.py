"""Evaluate a model's retrieval on held-out pairs: metrics, baselines, and what plots need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.relevance import Relevance
from hardpairs.data.samples import Samples
from hardpairs.embedding.stream import Embedded
from hardpairs.evaluating.baselines import baselines, ceiling, miniclip
from hardpairs.evaluating.plot_embeddings import choose_embeddings, write_plot_embeddings
from hardpairs.evaluating.relevance import evaluate_relevance
from hardpairs.evaluating.results import register, write_results
from hardpairs.evaluating.retrieval import evaluate_retrieval
from hardpairs.metrics.base import MetricInputs, compute_metrics


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Measured retrieval of a model.

    Attributes:
        metrics: Numbers by name; shares are fractions, in MiniCLIP's protocol percent.
        queries: Arrays by query, for reports and paired tests.
        plot_embeddings: Embeddings of a few images and captions.
        ceiling: Metrics of retrieval that a perfect model reaches.
    """

    metrics: dict[str, Any]
    queries: dict[str, np.ndarray]
    plot_embeddings: dict[str, np.ndarray]
    ceiling: dict[str, float]

    @property
    def compared_with_hard_pairs(self) -> bool:
        """True when some row that was evaluated has a hard pair."""
        return "beats_counted" in self.queries


def evaluate_embeddings(
    samples: Samples,
    embedded: Embedded,
    table: HardPairTable | None = None,
    *,
    ties: str = "pessimistic",
    with_baselines: bool = False,
    with_miniclip: bool = False,
    more_metrics: Sequence[str] = (),
    relevance: Relevance | None = None,
) -> Evaluation:
    """Evaluate a model by its embeddings of held-out pairs.

    Args:
        samples: The held-out pairs.
        embedded: Their embeddings.
        table: Hard pairs of these samples: whether each pair scores above its hard pairs.
        ties: How equal scores count: ``pessimistic`` (against the model) or ``expected``.
        with_baselines: Whether to measure chance and captions alone, and add the ceiling.
        with_miniclip: Whether to test by MiniCLIP's protocol, too.
        more_metrics: Names in ``hardpairs.metrics.METRICS`` whose numbers are added.
        relevance: What is right by files such as ECCV Caption's; its numbers are added as
            ``relevance``.
    """
    retrieval, queries = evaluate_retrieval(samples, embedded, table, ties=ties)
    metrics: dict[str, Any] = {**retrieval}
    reachable = ceiling(samples, embedded.rows, ties=ties)
    if more_metrics:
        inputs = MetricInputs.of_samples(samples, embedded.rows, embedded.image, embedded.text)
        metrics |= compute_metrics(inputs, more_metrics)
    if with_baselines:
        metrics |= {**baselines(samples, embedded.rows), "ceiling": reachable}
    if relevance is not None:
        metrics["relevance"] = evaluate_relevance(relevance, embedded, ties=ties)
    if with_miniclip:
        metrics["miniclip"] = miniclip(samples, embedded)
    return Evaluation(metrics, queries, choose_embeddings(samples, embedded), reachable)


def write_evaluation(
    out: Path, evaluation: Evaluation, record: dict[str, Any], *, protocol: str = "ours"
) -> dict[str, Any]:
    """Write a run folder's evaluation files, and a line into run_registry.csv beside the folder.

    Args:
        out: The run folder.
        evaluation: What was measured.
        record: What is known of model, data and settings.
        protocol: Protocol of the tables: ``ours``, ``miniclip`` or ``both``.

    Returns:
        What evaluation.json holds: the record and the metrics.
    """
    record = {**record, **evaluation.metrics}
    write_plot_embeddings(out, evaluation.plot_embeddings)
    write_results(out, record, evaluation.queries, protocol=protocol)
    register(out.parent / "run_registry.csv", record)
    return record
