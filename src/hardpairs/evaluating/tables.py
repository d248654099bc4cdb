"""A model's numbers between its baselines and its ceiling, as Markdown that is also read in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hardpairs.evaluating.runs import DIRECTIONS
from hardpairs.metrics.retrieval import BOUNDS
from hardpairs.pages.numbers import count_text, value_text

COLUMNS = {"R@1": "share", "R@5": "share", "R@10": "share", "MRR": "score", "median_rank": "rank"}
HEAD = ("R@1", "R@5", "R@10", "MRR", "median rank")
NAMES = {
    "bm25": "BM25 on other captions",
    "bag_of_words": "bag of words on other captions",
    "random": "random",
}
TIES_TOLD = {"pessimistic": "ties against the model", "expected": "ties as their expectation"}


def tables(record: Mapping[str, Any], protocol: str) -> str:
    """The tables of an evaluation.json for ``ours``, ``miniclip`` or ``both``; R@K in percent, MRR a fraction, ranks from 1."""
    parts = []
    if protocol != "miniclip":
        parts += [_ours(record, direction) for direction in DIRECTIONS]
        if record.get("texts_without_another"):
            alone, texts = count_text(record["texts_without_another"]), count_text(record["texts"])
            parts.append(
                f"{alone} of {texts} captions are the only one of what they show, so that words alone cannot find it.\n"
            )
    if protocol != "ours" and "miniclip" in record:
        parts.append(_miniclip(record["miniclip"]))
    if any(" (" in part for part in parts):
        parts.append(
            "In brackets: the least and the most that the order of equal scores can make of it; before them the mean.\n"
        )
    return "\n".join(parts)


def _ours(record: Mapping[str, Any], direction: str) -> str:
    def cells(values: Mapping[str, Any]) -> list[str]:
        if set(values) == set(BOUNDS):
            bounds = {
                ties: {name: values[ties].get(f"{direction}_{name}") for name in COLUMNS}
                for ties in BOUNDS
            }
            return [
                _between(*(bounds[ties][name] for ties in BOUNDS), unit)
                for name, unit in COLUMNS.items()
            ]
        found = {name: values.get(f"{direction}_{name}") for name in COLUMNS}
        return [
            "" if found[name] is None else value_text(found[name], unit)
            for name, unit in COLUMNS.items()
        ]

    images, texts = (
        f"{count_text(record['images'])} images",
        f"{count_text(record['texts'])} captions",
    )
    asking, ranked = (images, texts) if direction == "image_to_text" else (texts, images)
    title = (
        f"{DIRECTIONS[direction]}: {asking} ask, {ranked} are ranked, {TIES_TOLD[record['ties']]}"
    )
    rows = {"ceiling (captions repeat)": cells(record["ceiling"])} if "ceiling" in record else {}
    rows["**this model**"] = cells(record)
    rows |= {
        NAMES[name]: cells(record.get("baselines", {})[name])
        for name in NAMES
        if name in record.get("baselines", {})
    }
    return _markdown(title, {name: row for name, row in rows.items() if any(row)})


def _miniclip(found: Mapping[str, Any]) -> str:
    def number(values: Mapping[str, float], name: str) -> float | None:
        value = values.get({"median_rank": "MedR"}.get(name, name))
        return value / 100 if value is not None and COLUMNS[name] == "share" else value

    def cells(values: Mapping[str, float]) -> list[str]:
        found = {name: number(values, name) for name in COLUMNS}
        return [
            "" if value is None else value_text(value, COLUMNS[name])
            for name, value in found.items()
        ]

    rows = {"ceiling (captions repeat)": cells(found["ceiling"]), "**this model**": cells(found)}
    if words := found["bag_of_words"]:
        rows["bag of words, caption to caption"] = [
            _between(*(number(words[ties], name) for ties in BOUNDS), unit)
            for name, unit in COLUMNS.items()
        ]
    rows["random"] = cells(found["random"])
    title = f"MiniCLIP's protocol, text → image: {count_text(found['queries'])} captions ask, {count_text(found['images'])} images are ranked"
    return _markdown(title, rows)


def _between(low: float | None, mean: float | None, high: float | None, unit: str) -> str:
    """``9.3 (7.8 to 40.6)``; the mean alone where the bounds are it."""
    if low is None or mean is None or high is None:
        return ""
    texts = [value_text(value, unit) for value in (low, mean, high)]
    low_text, high_text = (texts[0], texts[2]) if low <= high else (texts[2], texts[0])
    return texts[1] if len(set(texts)) == 1 else f"{texts[1]} ({low_text} to {high_text})"


def _markdown(title: str, rows: Mapping[str, list[str]]) -> str:
    cells = [["", *HEAD], *([name, *row] for name, row in rows.items())]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in cells
    ]
    rule = (
        "|"
        + "|".join(
            "-" * (width + 2) if not i else "-" * (width + 1) + ":"
            for i, width in enumerate(widths)
        )
        + "|"
    )
    return "\n".join([title, "", lines[0], rule, *lines[1:], ""])
