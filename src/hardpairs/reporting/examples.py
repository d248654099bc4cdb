"""Choose queries to look at: where the leading method wins, where it loses, where all are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardpairs.evaluating.methods import Comparison
from hardpairs.evaluating.runs import DIRECTIONS, Method
from hardpairs.pages.album import Album, ShownImage
from hardpairs.pages.numbers import capitalized

PER_KIND = 3
ANSWERS = 5
SEED = 1


@dataclass(frozen=True)
class Answers:
    """A model's first answers to a query.

    Attributes:
        color: Number of the method.
        label: Its name for readers.
        rank: Rank of the first right answer, from 1.
        images: The first answers, best first, each with whether it is right.
    """

    color: int
    label: str
    rank: int
    images: list[tuple[ShownImage, bool]]


@dataclass(frozen=True)
class Example:
    """A query (its row's image and caption) and each model's answers."""

    query: ShownImage
    answers: list[Answers]


@dataclass(frozen=True)
class Kind:
    """Queries of one kind: ``count`` of ``total`` queries, of which a few are drawn."""

    title: str
    count: int
    total: int
    examples: list[Example]


def example_queries(comparison: Comparison, album: Album) -> dict[str, list[Kind]]:
    """Return examples of each method's first run by direction, drawn with a fixed seed."""
    return {direction: _examples(comparison, album, direction) for direction in DIRECTIONS}


def _examples(comparison: Comparison, album: Album, direction: str) -> list[Kind]:
    queries = comparison.methods[0].first.queries
    rows = queries["image_rows" if direction == "image_to_text" else "text_rows"]
    groups = album.samples.groups[rows]
    return [
        Kind(
            title,
            int(mask.sum()),
            len(mask),
            [
                _example(comparison.methods, album, direction, int(rows[query]), query)
                for query in draw(np.flatnonzero(mask), groups, PER_KIND)
            ],
        )
        for title, mask in kinds_of_queries(comparison, direction)
        if mask.any()
    ]


def kinds_of_queries(comparison: Comparison, direction: str) -> list[tuple[str, np.ndarray]]:
    """Sort queries into kinds by the first answer of each method's first run.

    Returns:
        (title, (Q,) bool) of each kind.
    """
    right = {
        method.name: method.first.queries[f"{direction}_ranks"] == 1
        for method in comparison.methods
    }
    nobody = ~np.any(list(right.values()), axis=0)
    hero, reference = comparison.hero, comparison.reference
    if hero is None or reference is None:
        return [("First answer right", ~nobody), ("First answer wrong", nobody)]
    (hero_label, hero_right), (reference_label, reference_right) = (
        (capitalized(method.label), right[method.name]) for method in (hero, reference)
    )
    return [
        (f"{hero_label}: right. {reference_label}: wrong", hero_right & ~reference_right),
        (f"{reference_label}: right. {hero_label}: wrong", reference_right & ~hero_right),
        ("Every model wrong", nobody),
    ]


def draw(candidates: np.ndarray, groups: np.ndarray, count: int) -> list[int]:
    """Draw candidates in random order with a fixed seed, no two of one group.

    Args:
        candidates: (C,) indices into ``groups``.
        groups: (N,) group ids.
        count: Candidates to draw, at most.
    """
    chosen: list[int] = []
    for candidate in np.random.default_rng(SEED).permutation(candidates).tolist():
        if len(chosen) < count and groups[candidate] not in groups[chosen]:
            chosen.append(candidate)
    return chosen


def _example(
    methods: Sequence[Method], album: Album, direction: str, row: int, query: int
) -> Example:
    is_right = album.samples.is_right
    answers = []
    for color, method in enumerate(methods):
        queries = method.first.queries
        images = [
            (
                album.image(answer),
                is_right(answer, row) if direction == "image_to_text" else is_right(row, answer),
            )
            for answer in queries[f"{direction}_top"][query, :ANSWERS].tolist()
        ]
        rank = int(queries[f"{direction}_ranks"][query])
        answers.append(Answers(color, method.label, rank, images))
    return Example(album.image(row), answers)
