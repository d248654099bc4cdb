"""Show the batches that a training command would train on: numbers, and images on a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hardpairs.batches import BatchSampler, open_stored_embeddings
from hardpairs.pages.album import Album
from hardpairs.pages.numbers import (
    count_text,
    difference_text,
    enumerate_words,
    plural,
    value_text,
)
from hardpairs.pages.template import render_template
from hardpairs.reporting.batch_statistics import (
    Occurrences,
    Similarities,
    occurrences,
    similarities,
)
from hardpairs.reporting.run_batches import (
    DrawnBatch,
    batch_makers,
    draw_batches,
    open_run_samples,
    spread_steps,
)

SHOWN_ROWS = 32
"""Rows of a batch that are drawn."""

Line = tuple[str, str, str]
"""A line of a table: its name and two values."""


@dataclass(frozen=True)
class BatchPage:
    """Everything that the template reads.

    Attributes:
        comparison: Lines of a name, the value of these batches, and that of random ones.
        occurrences: Lines of times, rows that occur so often as targets, and in any role.
    """

    title: str
    sentences: list[str]
    comparison: list[Line]
    occurrences: list[Line]
    epoch: int
    batches: list[DrawnBatch]
    command: str


def make_page(
    options: Mapping[str, Any],
    *,
    command: str,
    embeddings: str | None = None,
    processes: int = 1,
    epoch: int = 0,
    shown: int = 4,
) -> BatchPage:
    """Return the page of the batches that a training command would train on.

    Args:
        options: The training command's options by name, as in params.txt.
        command: The command that makes the page, for its last line.
        embeddings: Folder of stored embeddings, for similarities; by default the one that the
            batches are made from, if any.
        processes: Processes of the training run; its batch size is that of one.
        epoch: Pass over the data, from 0.
        shown: Batches to draw.

    Raises:
        UserError: As training raises for these options.
    """
    samples = open_run_samples(options)
    maker, random = batch_makers(options, samples, processes=processes)
    folder = embeddings or options["batching_embeddings"]
    stored = open_stored_embeddings(folder, samples, verify=True) if folder else None
    counted = occurrences(maker, epoch)
    return BatchPage(
        title=f"Batches: {options['batching']}",
        sentences=sentences(maker, counted, processes),
        comparison=comparison_lines(
            *(similarities(each, epoch, samples.positives, stored) for each in (maker, random))
        ),
        occurrences=occurrence_lines(counted),
        epoch=epoch,
        batches=draw_batches(
            maker,
            Album(samples),
            maker.table,
            epoch=epoch,
            steps=spread_steps(maker, shown),
            most_rows=SHOWN_ROWS,
        ),
        command=command,
    )


def render(page: BatchPage) -> str:
    """Return the page as HTML that loads nothing."""
    return render_template("batches.html.j2", page=page)


def comparison_lines(ours: Similarities, random: Similarities) -> list[Line]:
    """Return the lines that compare these batches with random ones."""
    lines = []
    if ours.mean is not None:
        lines += [
            ("mean cosine of two rows of a batch", _score(ours.mean), _score(random.mean)),
            (
                "mean cosine of a row and the one most like it",
                _score(ours.nearest),
                _score(random.nearest),
            ),
        ]
    return [
        *lines,
        (
            "pairs of a batch with equal group or caption",
            f"{ours.collisions:.2f}",
            f"{random.collisions:.2f}",
        ),
        (
            "batches with such a pair, percent",
            value_text(ours.with_collision, "share"),
            value_text(random.with_collision, "share"),
        ),
    ]


def _score(value: float | None) -> str:
    if value is None:
        return ""
    return value_text(value, "score") if value >= 0 else difference_text(value, "score")


def occurrence_lines(counted: Occurrences) -> list[Line]:
    """Return the lines of how many rows occur how often.

    From 8 on, times are joined: 8 to 15, 16 to 31, and so on.
    """
    lines = []
    for low, high in _ranges(max(*counted.as_target, *counted.in_any_role)):
        as_target, in_any_role = (
            sum(rows for times, rows in counts.items() if low <= times <= high)
            for counts in (counted.as_target, counted.in_any_role)
        )
        if as_target or in_any_role:
            times = str(low) if low == high else f"{low} to {high}"
            lines.append((times, count_text(as_target), count_text(in_any_role)))
    return lines


def _ranges(most: int) -> list[tuple[int, int]]:
    """Return the ranges of times that are counted together.

    Example:
        >>> _ranges(20)[-3:]
        [(7, 7), (8, 15), (16, 31)]
    """
    joined = [(1 << bit, (2 << bit) - 1) for bit in range(3, most.bit_length())]
    return [(times, times) for times in range(8)] + joined


def sentences(maker: BatchSampler, counted: Occurrences, processes: int) -> list[str]:
    """Return sentences that describe the batches of an epoch."""
    left_out = (
        f"; {plural(counted.left_out, 'row is', 'rows are')} left out" if counted.left_out else ""
    )
    roles = [f"{count_text(count)} {name}" for name, count in counted.roles.items() if count]
    return [
        f"{count_text(len(maker.rows))} rows make "
        f"{plural(maker.steps, 'global batch', 'global batches')} of "
        f"{count_text(maker.global_batch_size)} in an epoch, on "
        f"{plural(processes, 'process', 'processes')}{left_out}.",
        f"They hold {enumerate_words(roles)}.",
    ]


def terminal_text(page: BatchPage) -> str:
    """Return the page's numbers as plain text."""
    width = max(len(name) for name, _, _ in page.comparison) + 2
    lines = [page.title, *page.sentences, "", f"{'':{width}}{'these':>10}{'random':>10}"]
    lines += [f"{name:{width}}{ours:>10}{random:>10}" for name, ours, random in page.comparison]
    lines += ["", f"{'times in an epoch':{width}}{'targets':>10}{'any role':>10}"]
    lines += [
        f"{times:{width}}{first:>10}{second:>10}" for times, first, second in page.occurrences
    ]
    return "\n".join(lines)
