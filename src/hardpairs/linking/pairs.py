"""Pairs that people called the same or different, as Label Studio exports them, and the clusters that follow."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardpairs.core.errors import bad_input

SAME, DIFFERENT = "same", "different"


@dataclass(frozen=True)
class Pair:
    """Two pictures, their texts, and whether they were called the same."""

    first: str
    second: str
    first_caption: str
    second_caption: str
    same: bool


@dataclass(frozen=True)
class Clusters:
    """What pairs come to.

    Attributes:
        labels: name of a picture to its cluster, numbered by first appearance; single pictures have numbers of their own, too.
        captions: name to text, the first one seen.
        conflicts: (first, second, chain): called different, and joined by the chain of pictures each called the same as the next.
    """

    labels: dict[str, int]
    captions: dict[str, str]
    conflicts: list[tuple[str, str, list[str]]]


def read_label_studio(path: Path) -> tuple[list[Pair], int]:
    """Pairs of an export (JSON or JSON-MIN), and how many have no answer.

    An answer is the choice ``Same`` or ``Different``; a task that several people answered is a pair for each of them.

    Raises:
        UserError: exit 3 for a file that is no such export, naming the task.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise bad_input(f"not JSON: {error}", where=str(path)) from None
    if not isinstance(tasks, list):
        raise bad_input(
            "an export is a list of tasks", where=str(path), fix="export as JSON or JSON-MIN"
        )
    pairs, unanswered = [], 0
    for number, task in enumerate(tasks):
        try:
            answers = _answers(task)
            data = task.get("data", task)
            names = [str(data[key]) for key in ("id1", "id2", "caption1", "caption2")]
        except (KeyError, TypeError, AttributeError) as error:
            raise bad_input(
                f"a task needs id1, caption1, id2, caption2: {error!r}",
                where=f"{path}, task {number}",
            ) from None
        if any(answer not in (SAME, DIFFERENT) for answer in answers):
            raise bad_input(
                f"an answer is Same or Different, not {answers}", where=f"{path}, task {number}"
            )
        pairs += [Pair(*names, same=answer == SAME) for answer in answers]
        unanswered += not answers
    return pairs, unanswered


def _answers(task: dict[str, Any]) -> list[str]:
    """The choices of a task, in lower case."""
    if "annotations" in task or "completions" in task:
        results = [
            result
            for annotation in task.get("annotations") or task.get("completions") or []
            for result in annotation.get("result") or []
        ]
        choices = [
            choice for result in results for choice in result.get("value", {}).get("choices", [])
        ]
    else:
        found = task.get("choice") or []
        choices = (
            found["choices"]
            if isinstance(found, dict)
            else [found]
            if isinstance(found, str)
            else found
        )
    return [str(choice).strip().lower() for choice in choices]


def cluster_pairs(pairs: list[Pair]) -> Clusters:
    """Clusters of pictures that are called the same, directly or through others."""
    captions: dict[str, str] = {}
    neighbours: dict[str, set[str]] = {}
    for pair in pairs:
        for name, caption in ((pair.first, pair.first_caption), (pair.second, pair.second_caption)):
            captions.setdefault(name, caption)
            neighbours.setdefault(name, set())
        if pair.same:
            neighbours[pair.first].add(pair.second)
            neighbours[pair.second].add(pair.first)
    labels: dict[str, int] = {}
    count = 0
    for name in neighbours:
        if name not in labels:
            labels |= dict.fromkeys(_reached(name, neighbours), count)
            count += 1
    labels = {name: labels[name] for name in neighbours}
    different = {tuple(sorted((pair.first, pair.second))): None for pair in pairs if not pair.same}
    conflicts = [(a, b, _chain(a, b, neighbours)) for a, b in different if labels[a] == labels[b]]
    return Clusters(labels, captions, conflicts)


def _reached(start: str, neighbours: dict[str, set[str]]) -> set[str]:
    found, queue = {start}, deque([start])
    while queue:
        new = neighbours[queue.popleft()] - found
        found |= new
        queue.extend(new)
    return found


def _chain(start: str, goal: str, neighbours: dict[str, set[str]]) -> list[str]:
    """A shortest chain of pictures from one to the other."""
    before: dict[str, str] = {start: start}
    queue = deque([start])
    while goal not in before:
        here = queue.popleft()
        for name in sorted(neighbours[here]):
            if name not in before:
                before[name] = here
                queue.append(name)
    chain = [goal]
    while chain[-1] != start:
        chain.append(before[chain[-1]])
    return chain[::-1]
