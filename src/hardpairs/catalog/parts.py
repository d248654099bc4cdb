"""Which part of the split each pair is in, and which pairs a limit leaves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from hardpairs.catalog.candidates import Candidate
from hardpairs.data.manifest import stable_id
from hardpairs.data.splits import part_of_images


def limited(candidates: Iterable[Candidate], limit: int | None) -> list[Candidate]:
    """Return candidates in an order that depends on their names alone, at most ``limit`` of them.

    Whole things are taken, so that fewer pairs have as many hard pairs and known positives each.
    """
    by_thing: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_thing[candidate.thing].append(candidate)
    chosen: list[Candidate] = []
    for thing in sorted(by_thing, key=stable_id):
        if limit is not None and len(chosen) + len(by_thing[thing]) > limit:
            continue
        chosen += by_thing[thing]
    return sorted(chosen, key=lambda candidate: stable_id(candidate.name))


def part_of_pairs(things: Sequence[str], images: Sequence[bytes], seed: int) -> np.ndarray:
    """Return the part of each pair: 0 train, 1 val, 2 test.

    Pairs of one thing stay together, and so do pairs with the same image.

    Args:
        things: What each pair shows.
        images: The image of each pair.
        seed: Seed of the split.

    Returns:
        (N,) uint8.
    """
    joined = _joined([f"thing {thing}" for thing in things], images)
    first = {group: row for row, group in reversed(list(enumerate(joined)))}
    rows = np.array([first[group] for group in joined])
    _, numbers = np.unique(rows, return_inverse=True)
    return part_of_images(int(numbers.max()) + 1, seed=seed)[numbers]


def _joined(*columns: Sequence[object]) -> list[object]:
    """Return a representative for each row; rows that share a value in a column have the same."""
    parent: dict[object, object] = {}

    def root(value: object) -> object:
        while parent.setdefault(value, value) != value:
            parent[value] = value = parent[parent[value]]
        return value

    for row in zip(*columns, strict=True):
        for value in row[1:]:
            parent[root(value)] = root(row[0])
    return [root(value) for value in columns[0]]
