"""Queries to look at: where the method that the page leads with wins, where it loses, and where nobody is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardpairs.evaluating.compare import Comparison
from hardpairs.evaluating.runs import DIRECTIONS, Method
from hardpairs.pages.numbers import capitalised
from hardpairs.pages.pictures import Album, Picture

PER_KIND = 3
ANSWERS = 5
SEED = 1


@dataclass(frozen=True)
class Answers:
    """A model's first answers to one query, and the rank of the first right one."""

    colour: int
    label: str
    rank: int
    pictures: list[tuple[Picture, bool]]


@dataclass(frozen=True)
class Example:
    """A query (its row's picture and caption) and what each model answered."""

    query: Picture
    answers: list[Answers]


@dataclass(frozen=True)
class Kind:
    """Queries of one kind: how many there are, and the few that were drawn."""

    title: str
    count: int
    total: int
    examples: list[Example]


def example_queries(comparison: Comparison, album: Album) -> dict[str, list[Kind]]:
    """Examples by direction, of each method's first run; drawn with a fixed seed, not picked."""
    return {direction: _direction(comparison, album, direction) for direction in DIRECTIONS}


def _direction(comparison: Comparison, album: Album, direction: str) -> list[Kind]:
    queries = comparison.methods[0].first.queries
    rows = queries["image_rows" if direction == "image_to_text" else "text_rows"]
    groups = album.samples.groups[rows]
    kinds = []
    for title, mask in kinds_of_queries(comparison, direction):
        drawn = draw(np.flatnonzero(mask), groups, PER_KIND)
        examples = [_example(comparison.methods, album, direction, rows, query) for query in drawn]
        kinds.append(Kind(title, int(mask.sum()), len(mask), examples))
    return [kind for kind in kinds if kind.count]


def kinds_of_queries(comparison: Comparison, direction: str) -> list[tuple[str, np.ndarray]]:
    """(title, (Q,) bool) of each kind, by the first answer of each method's first run."""
    right = {
        method.name: method.first.queries[f"{direction}_ranks"] == 1
        for method in comparison.methods
    }
    nobody = ~np.any(list(right.values()), axis=0)
    hero, reference = comparison.hero, comparison.reference
    if hero is None or reference is None:
        return [("First answer right", ~nobody), ("First answer wrong", nobody)]
    ours, theirs = right[hero.name], right[reference.name]
    return [
        (
            f"{capitalised(hero.label)}: right. {capitalised(reference.label)}: wrong",
            ours & ~theirs,
        ),
        (
            f"{capitalised(reference.label)}: right. {capitalised(hero.label)}: wrong",
            theirs & ~ours,
        ),
        ("Every model wrong", nobody),
    ]


def draw(candidates: np.ndarray, groups: np.ndarray, count: int) -> list[int]:
    """``count`` of the candidates in a seeded random order, no two of one group."""
    chosen: list[int] = []
    for candidate in np.random.default_rng(SEED).permutation(candidates).tolist():
        if len(chosen) < count and groups[candidate] not in groups[chosen]:
            chosen.append(candidate)
    return chosen


def _example(
    methods: Sequence[Method], album: Album, direction: str, rows: np.ndarray, query: int
) -> Example:
    row = int(rows[query])
    answers = []
    for colour, method in enumerate(methods):
        queries = method.first.queries
        found = queries[f"{direction}_top"][query, :ANSWERS].tolist()
        pictures = [
            (album.picture(answer), album.samples.group(answer) == album.samples.group(row))
            for answer in found
        ]
        answers.append(
            Answers(colour, method.label, int(queries[f"{direction}_ranks"][query]), pictures)
        )
    return Example(album.picture(row), answers)
