"""Train one start model with several losses, measure all of them, and write the comparison."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hardpairs.comparing.measure import QueryResults, measure
from hardpairs.comparing.parts import DataParts
from hardpairs.comparing.runs import START, Budget, TrainingRun, is_done, train
from hardpairs.comparing.table import (
    LossRow,
    Training,
    markdown,
    preferred,
    rows_of,
    verdict,
)
from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import Exit, UserError, usage
from hardpairs.evaluating.gallery import image_names, retrieve, submission


@dataclass(frozen=True)
class Candidates:
    """The losses to compare, and the runs that each gets.

    Attributes:
        losses: Names of losses.
        rates: Learning rates to try for each loss.
        seeds: Runs of each loss at its best rate.
        flags: Further flags of the trainer, by loss.
    """

    losses: tuple[str, ...]
    rates: tuple[float, ...]
    seeds: int = 3
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def runs(
        self, loss: str, rates: Iterable[float], seeds: Iterable[int], out: Path
    ) -> list[TrainingRun]:
        """Return the runs of a loss: one of each rate and seed.

        Args:
            loss: Name of the loss.
            rates: Learning rates.
            seeds: Seeds.
            out: Folder of the comparison.
        """
        own = self.flags.get(loss, ())
        return [TrainingRun(loss, rate, seed, out, own) for rate in rates for seed in seeds]


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        rows: The table, best loss first.
        notes: Sentences below it.
        runs: The runs of each loss at its best rate, by loss.
        results: Results of each seed, by loss, the start model included.
        failed: Why a loss has no row, by loss.
    """

    rows: list[LossRow]
    notes: list[str]
    runs: dict[str, list[TrainingRun]]
    results: dict[str, list[QueryResults]]
    failed: dict[str, str]


def compare_losses(
    parts: DataParts, budget: Budget, candidates: Candidates, out: Path, *, group_name: str = ""
) -> Comparison:
    """Train with each loss and measure all; work that is done already is not done again.

    Args:
        parts: The data.
        budget: The settings of all runs.
        candidates: The losses.
        out: Folder of the comparison, an absolute path.
        group_name: Name under which submissions to the challenge are written; empty: none are.

    Raises:
        UserError: Exit 2 for submissions without queries, exit 6 when no loss is left; a run's own
            failure.
    """
    if group_name:
        _check_names(parts)
    runs, failed = train_all(candidates, parts, budget, out)
    start = _results(parts, budget, budget.pretrained, out / f"measured/{START}.npz", again=True)
    results = {START: [start]}
    for loss, own in runs.items():
        results[loss] = [
            _results(parts, budget, str(run.best_checkpoint), run.results) for run in own
        ]
    if group_name:
        weights = {START: budget.pretrained}
        weights |= {run.name: str(run.best_checkpoint) for own in runs.values() for run in own}
        _submit(parts, budget, weights, out / "submissions", group_name)
    trainings = {loss: _training(own, budget.metric) for loss, own in runs.items()}
    rows = rows_of(results, trainings)
    return Comparison(rows, _notes(rows, parts, budget, failed), runs, results, failed)


def _training(runs: Sequence[TrainingRun], metric: str) -> Training:
    epochs, values = zip(*(run.best(metric) for run in runs), strict=True)
    return Training(runs[0].rate, epochs, float(np.mean(values)))


def train_all(
    candidates: Candidates, parts: DataParts, budget: Budget, out: Path
) -> tuple[dict[str, list[TrainingRun]], dict[str, str]]:
    """Train with each loss. A loss that is not finite is left out, and the others go on.

    Args:
        candidates: The losses.
        parts: The data.
        budget: The settings of all runs.
        out: Folder of the comparison.

    Returns:
        The runs of each loss at its best rate, one for each seed, and the failure of each loss
        that has none.

    Raises:
        UserError: Exit 6 when no loss is left; any other failure of a run.
    """
    runs: dict[str, list[TrainingRun]] = {}
    failures: dict[str, UserError] = {}
    for loss in candidates.losses:
        try:
            tried = _finite(candidates.runs(loss, candidates.rates, [0], out), parts, budget)
            best = max(tried, key=lambda run: run.best(budget.metric)[1])
            others = candidates.runs(loss, [best.rate], range(1, candidates.seeds), out)
            runs[loss] = [best, *(_made(run, parts, budget) for run in others)]
        except UserError as error:
            if error.code != Exit.NON_FINITE:
                raise
            failures[loss] = error
            print(f"{loss}: failed, the others go on", file=sys.stderr)
    if failures and not runs:
        raise list(failures.values())[-1]
    return runs, {loss: error.what for loss, error in failures.items()}


def _finite(runs: Sequence[TrainingRun], parts: DataParts, budget: Budget) -> list[TrainingRun]:
    """Make runs, and return those that stayed finite; raise if there are none."""
    done, failure = [], None
    for run in runs:
        try:
            done.append(_made(run, parts, budget))
        except UserError as error:
            if error.code != Exit.NON_FINITE:
                raise
            failure = error
            print(f"{run.name}: not finite, left out", file=sys.stderr)
    if failure is not None and not done:
        raise failure
    return done


def _made(run: TrainingRun, parts: DataParts, budget: Budget) -> TrainingRun:
    if not is_done(run, budget):
        print(f"{run.name}: training", file=sys.stderr)
        train(run, parts, budget)
    epoch, value = run.best(budget.metric)
    print(
        f"{run.name}: {budget.metric} {value:.4f} on validation data, epoch {epoch}",
        file=sys.stderr,
    )
    return run


def _results(
    parts: DataParts, budget: Budget, weights: str, path: Path, *, again: bool = False
) -> QueryResults:
    """Measure a checkpoint, unless the file exists; ``again``: nothing tells what it is of."""
    if again or not path.is_file():
        validation = parts.open("validation")
        measure(budget.model, weights, validation, *parts.reported(), device=budget.device).save(
            path
        )
    return QueryResults.load(path)


def _check_names(parts: DataParts) -> None:
    """Refuse images of one name before anything is trained."""
    if parts.query is None:
        raise usage(
            "`groupname` asks for submissions, and there is no test/query to make them of",
            where=str(parts.test),
            fix="leave it out",
        )
    for part in ("query", "test"):
        image_names(parts.open(part))


def _submit(
    parts: DataParts, budget: Budget, weights: Mapping[str, str], folder: Path, group_name: str
) -> None:
    query, gallery = parts.open("query"), parts.open("test")
    for name, checkpoint in weights.items():
        result = retrieve(
            query, gallery, model=budget.model, pretrained=checkpoint, device=budget.device
        )
        write_json(folder / f"{name}.json", submission(result.nearest, group_name))
    print(f"submissions: {folder}", file=sys.stderr)


def _notes(
    rows: Sequence[LossRow], parts: DataParts, budget: Budget, failed: Mapping[str, str]
) -> list[str]:
    notes = [verdict(rows, budget.metric)]
    if not parts.has_answers:
        notes.append(
            "No test query has a known answer: the table is of the validation data, "
            "which rates and epochs were chosen by."
        )
    return [*notes, *(f"{loss} is not in the table: {why}" for loss, why in failed.items())]


def write_comparison(
    comparison: Comparison, parts: DataParts, budget: Budget, out: Path, command: str
) -> None:
    """Write OUT/comparison.json and .md, and with test labels the page comparison.html.

    Args:
        comparison: The result.
        parts: The data.
        budget: The settings of all runs.
        out: The folder.
        command: The command, for the record.
    """
    from hardpairs.comparing.page import losses_page
    from hardpairs.pages.template import render_template

    rows = comparison.rows
    record = {
        "losses": [row.record() for row in rows],
        "measured_on": "test" if parts.has_answers else "validation",
        "chosen": preferred(rows)[0],
        "oracle": rows[0].loss,
        "failed": comparison.failed,
        "queries": len(comparison.results[START][0].rows),
        "command": command,
    }
    write_json(out / "comparison.json", record)
    write_text(out / "comparison.md", "\n".join([markdown(rows), *comparison.notes, ""]))
    if parts.has_answers:  # the page is about test queries
        page = losses_page(comparison, budget, *parts.reported(), command)
        write_text(out / "comparison.html", render_template("losses.html.j2", page=page))
        print(f"page: {out / 'comparison.html'}", file=sys.stderr)
    print(json.dumps({row.loss: round(row.mean["mAP"], 4) for row in rows}), file=sys.stderr)
