"""The page of ``tools.inspect_batches``: numbers and pictures of the batches that a command would train on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardpairs.batches import HARD_PAIR, RANDOM, BatchSampler
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.pages import numbers
from hardpairs.pages.pictures import Album, Picture
from hardpairs.reporting.batch_statistics import Alike, GlobalBatch, Seen, global_batches

SHOWN_ROWS = 32
"""Rows of a batch that are drawn."""


@dataclass(frozen=True)
class DrawnBatch:
    """The first rows of a batch, in groups; each picture with a note: the rank of a mined partner, or ``random``."""

    number: int
    size: int
    groups: list[list[tuple[Picture, str]]]

    @property
    def framed(self) -> bool:
        return any(len(group) > 1 for group in self.groups)

    @property
    def shown(self) -> int:
        return sum(map(len, self.groups))


@dataclass(frozen=True)
class BatchPage:
    """Everything the template reads."""

    title: str
    sentences: list[str]
    comparison: list[tuple[str, str, str]]
    seen: list[tuple[str, str, str]]
    epoch: int
    batches: list[DrawnBatch]
    command: str


def drawn(
    sampler: BatchSampler, epoch: int, album: Album, table: HardPairTable | None, count: int
) -> list[DrawnBatch]:
    """Pictures of ``count`` batches, spread over the epoch."""
    steps = np.unique(np.linspace(0, sampler.steps - 1, min(count, sampler.steps)).astype(np.int64))
    size = sampler.group_size
    shown = max(min(SHOWN_ROWS, sampler.global_batch_size) // size, 1) * size
    found = []
    for step, batch in zip(steps.tolist(), global_batches(sampler, epoch, steps), strict=True):
        notes = [_note(batch, place, size, table) for place in range(shown)]
        pictures = [
            (album.picture(row), note)
            for row, note in zip(batch.rows[:shown].tolist(), notes, strict=True)
        ]
        found.append(
            DrawnBatch(
                step,
                len(batch.rows),
                [pictures[start : start + size] for start in range(0, shown, size)],
            )
        )
    return found


def _note(batch: GlobalBatch, place: int, group_size: int, table: HardPairTable | None) -> str:
    if batch.roles[place] == RANDOM:
        return "random"
    if batch.roles[place] != HARD_PAIR or table is None:
        return ""
    partners = table.indices[batch.rows[place - place % group_size]]
    return str(int(np.flatnonzero(partners == batch.rows[place])[0]) + 1)


def comparison(ours: Alike, theirs: Alike) -> list[tuple[str, str, str]]:
    """Lines of (what, these batches, random ones)."""
    lines = []
    if (
        ours.mean is not None
        and ours.top is not None
        and theirs.mean is not None
        and theirs.top is not None
    ):
        lines = [
            ("mean cosine of two rows of a batch", _score(ours.mean), _score(theirs.mean)),
            ("mean cosine of a row and the one most like it", _score(ours.top), _score(theirs.top)),
        ]
    return [
        *lines,
        (
            "pairs of a batch with equal group or caption",
            f"{ours.collisions:.2f}",
            f"{theirs.collisions:.2f}",
        ),
        (
            "batches with such a pair, percent",
            *(numbers.value_text(x.batches_with, "share") for x in (ours, theirs)),
        ),
    ]


def _score(value: float) -> str:
    return (
        numbers.value_text(value, "score")
        if value >= 0
        else numbers.difference_text(value, "score")
    )


def seen_lines(seen: Seen) -> list[tuple[str, str, str]]:
    """Lines of (times, rows seen so often as targets, in any role); from 8 on times are joined: 8 to 15, 16 to 31..."""
    lines = []
    for low, high in _ranges(max(*seen.targets, *seen.all)):
        targets, in_all = (
            sum(rows for times, rows in counts.items() if low <= times <= high)
            for counts in (seen.targets, seen.all)
        )
        if targets or in_all:
            lines.append(
                (
                    str(low) if low == high else f"{low} to {high}",
                    numbers.count_text(targets),
                    numbers.count_text(in_all),
                )
            )
    return lines


def _ranges(most: int) -> list[tuple[int, int]]:
    """
    Example:
        >>> _ranges(20)[-3:]
        [(7, 7), (8, 15), (16, 31)]
    """
    joined = [(1 << bit, (2 << bit) - 1) for bit in range(3, most.bit_length())]
    return [(times, times) for times in range(8)] + joined


def sentences(sampler: BatchSampler, seen: Seen, processes: int) -> list[str]:
    """What the command's batches are."""
    left_out = (
        f"; {numbers.plural(seen.left_out, 'row is', 'rows are')} left out" if seen.left_out else ""
    )
    return [
        f"{numbers.count_text(len(sampler.rows))} rows make {numbers.plural(sampler.steps, 'global batch', 'global batches')} of "
        f"{numbers.count_text(sampler.global_batch_size)} in an epoch, on {numbers.plural(processes, 'process', 'processes')}{left_out}.",
        "Their places: "
        + numbers.enumerate_words(
            [f"{numbers.count_text(count)} {name}" for name, count in seen.roles.items() if count]
        )
        + ".",
    ]


def terminal_text(page: BatchPage) -> str:
    """The page's numbers as plain text."""
    width = max(len(name) for name, _, _ in page.comparison) + 2
    lines = [page.title, *page.sentences, "", f"{'':{width}}{'these':>10}{'random':>10}"]
    lines += [f"{name:{width}}{ours:>10}{theirs:>10}" for name, ours, theirs in page.comparison]
    lines += ["", f"{'times seen in an epoch':{width}}{'targets':>10}{'any role':>10}"]
    lines += [f"{times:{width}}{targets:>10}{in_all:>10}" for times, targets, in_all in page.seen]
    return "\n".join(lines)
