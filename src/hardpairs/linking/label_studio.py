"""Pairs of images that people called the same or different, and the clusters that follow.

The pairs come from exports of Label Studio.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardpairs.core.errors import bad_input
from hardpairs.core.parse import parse_json
from hardpairs.data.strings import readable

SAME, DIFFERENT = "same", "different"


@dataclass(frozen=True)
class LabeledPair:
    """Two images by name, their texts, and whether a person called them the same."""

    first: str
    second: str
    first_caption: str
    second_caption: str
    same: bool


@dataclass(frozen=True)
class Clusters:
    """Clusters that labeled pairs imply.

    Attributes:
        labels: Name of an image -> its cluster. Clusters are numbered by first appearance; an image
            without another is a cluster.
        captions: Name -> text, the first one that was read.
        conflicts: (first, second, chain) of pairs that were called different, and are joined by a
            chain of images, each called the same as the next.
    """

    labels: dict[str, int]
    captions: dict[str, str]
    conflicts: list[tuple[str, str, list[str]]]


def read_label_studio(path: Path) -> tuple[list[LabeledPair], Counter[str]]:
    """Read the pairs of an export (JSON or JSON-MIN).

    An answer is the choice ``Same`` or ``Different``. A task that several people answered is a pair
    for each of them. Other choices, such as ``Unsure``, are no answer.

    Returns:
        The pairs, and the number of tasks that give none, by what was chosen there.

    Raises:
        UserError: exit 3 for a file that is not such an export; the error names the task.
    """
    try:
        tasks = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise bad_input(f"not JSON: {error}", where=str(path)) from None
    if not isinstance(tasks, list):
        fix = "export as JSON or JSON-MIN"
        raise bad_input("an export is a list of tasks", where=str(path), fix=fix)
    pairs: list[LabeledPair] = []
    left_out: Counter[str] = Counter()
    for number, task in enumerate(tasks):
        where = f"{path}, task {number}"
        try:
            choices = _choices(task)
            data = task.get("data", task)
            keys = ("id1", "id2", "caption1", "caption2")
            first, second, first_text, second_text = (readable(str(data[key])) for key in keys)
        except (KeyError, TypeError, AttributeError) as error:
            what = f"a task needs id1, caption1, id2, caption2: {error!r}"
            raise bad_input(what, where=where) from None
        answers = [choice for choice in choices if choice.lower() in (SAME, DIFFERENT)]
        texts = (first_text, second_text)
        pairs += [LabeledPair(first, second, *texts, answer.lower() == SAME) for answer in answers]
        if not answers:
            left_out[", ".join(sorted(set(choices))) or "no choice"] += 1
    if left_out and not pairs:
        chosen = "; ".join(left_out)
        raise bad_input(f"an answer is Same or Different, and none is: {chosen}", where=str(path))
    return pairs, left_out


def _choices(task: dict[str, Any]) -> list[str]:
    """Return what was chosen in a task."""
    if "annotations" in task or "completions" in task:
        choices = [
            choice
            for annotation in task.get("annotations") or task.get("completions") or []
            for result in annotation.get("result") or []
            for choice in result.get("value", {}).get("choices", [])
        ]
    else:  # JSON-MIN
        choices = task.get("choice") or []
        choices = choices["choices"] if isinstance(choices, dict) else choices
        choices = [choices] if isinstance(choices, str) else choices
    return [str(choice).strip() for choice in choices]


def cluster_pairs(pairs: list[LabeledPair]) -> Clusters:
    """Cluster images that are called the same, directly or through others."""
    captions: dict[str, str] = {}
    neighbors: dict[str, set[str]] = {}
    for pair in pairs:
        for name, caption in ((pair.first, pair.first_caption), (pair.second, pair.second_caption)):
            captions.setdefault(name, caption)
            neighbors.setdefault(name, set())
        if pair.same:
            neighbors[pair.first].add(pair.second)
            neighbors[pair.second].add(pair.first)
    labels: dict[str, int] = {}
    count = 0
    for name in neighbors:
        if name not in labels:
            labels |= dict.fromkeys(_paths_from(name, neighbors), count)
            count += 1
    labels = {name: labels[name] for name in neighbors}
    different = {tuple(sorted((pair.first, pair.second))): None for pair in pairs if not pair.same}
    conflicts = [(a, b, _chain(a, b, neighbors)) for a, b in different if labels[a] == labels[b]]
    return Clusters(labels, captions, conflicts)


def _paths_from(start: str, neighbors: dict[str, set[str]]) -> dict[str, str]:
    """Return each name that can be reached, with the name before it on a shortest chain."""
    before = {start: start}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for neighbor in sorted(neighbors[name] - before.keys()):
            before[neighbor] = name
            queue.append(neighbor)
    return before


def _chain(start: str, end: str, neighbors: dict[str, set[str]]) -> list[str]:
    """Return a shortest chain of names from one to the other."""
    before = _paths_from(start, neighbors)
    chain = [end]
    while chain[-1] != start:
        chain.append(before[chain[-1]])
    return chain[::-1]
