"""Lay out a model's numbers between its baselines and its ceiling, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hardpairs.evaluating.runs import DIRECTIONS
from hardpairs.metrics import groups
from hardpairs.metrics.retrieval import BOUNDS
from hardpairs.pages.numbers import count_text, value_text

COLUMNS = {"R@1": "share", "R@5": "share", "R@10": "share", "MRR": "score", "median_rank": "rank"}
HEAD = ("R@1", "R@5", "R@10", "MRR", "median rank")
LABELS = {
    "bm25": "BM25 on other captions",
    "bag_of_words": "bag of words on other captions",
    "random": "random",
}
CEILING, MODEL = "ceiling (captions repeat)", "**this model**"
TIES_TEXT = {"pessimistic": "ties against the model", "expected": "ties as their expectation"}

Values = Mapping[str, "float | None"]
"""Metrics by the names of ``COLUMNS``: shares as fractions, ranks from 1."""


def tables(record: Mapping[str, Any], protocol: str) -> str:
    """Return the tables of an evaluation.json; R@K in percent, MRR a fraction, ranks from 1.

    Args:
        record: What evaluation.json holds.
        protocol: ``ours``, ``miniclip`` or ``both``.
    """
    parts = []
    if protocol != "miniclip":
        parts += [_ours(record, direction) for direction in DIRECTIONS]
        if record.get("texts_without_another"):
            alone, texts = count_text(record["texts_without_another"]), count_text(record["texts"])
            parts.append(
                f"{alone} of {texts} captions are the only one of their image, so that no other "
                "caption can find it.\n"
            )
    if protocol != "ours" and "miniclip" in record:
        parts.append(_miniclip(record["miniclip"]))
    if any(" (" in part for part in parts):
        parts.append(
            "In brackets: the least and the most that the order of equal scores can make of it; "
            "before them the mean.\n"
        )
    return "\n".join(parts)


def groups_text(metrics: Mapping[str, Any], ceiling: Mapping[str, float]) -> str:
    """Return a line on what counts as right: images, captions, groups, and the reachable R@1."""
    names = ("images", "texts", "groups", "texts_in_several_groups")
    counts = groups.groups_text(*(metrics[name] for name in names))
    reachable = " and ".join(
        f"{value_text(ceiling[f'{direction}_R@1'], 'share')} {direction.replace('_', ' ')}"
        for direction in DIRECTIONS
    )
    return f"{counts}; reachable R@1: {reachable}"


def _ours(record: Mapping[str, Any], direction: str) -> str:
    def values(metrics: Mapping[str, Any]) -> Values:
        return {name: metrics.get(f"{direction}_{name}") for name in COLUMNS}

    queries, gallery = (
        f"{count_text(record['images'])} images",
        f"{count_text(record['texts'])} captions",
    )
    if direction == "text_to_image":
        queries, gallery = gallery, queries
    title = f"{DIRECTIONS[direction]}: {queries} ask, {gallery} are ranked, "
    rows = {}
    if "ceiling" in record:
        rows[CEILING] = _cells(values(record["ceiling"]))
    rows[MODEL] = _cells(values(record))
    for name, label in LABELS.items():
        metrics = record.get("baselines", {}).get(name, {})
        if set(metrics) == set(BOUNDS):
            rows[label] = _bounded_cells(values(metrics[ties]) for ties in BOUNDS)
        else:
            rows[label] = _cells(values(metrics))
    known = {name: cells for name, cells in rows.items() if any(cells)}
    return _markdown(title + TIES_TEXT[record["ties"]], known)


def _miniclip(record: Mapping[str, Any]) -> str:
    def values(metrics: Mapping[str, float]) -> Values:
        return {
            name: metrics[name] / 100 if unit == "share" and name in metrics else metrics.get(name)
            for name, unit in COLUMNS.items()
        } | {"median_rank": metrics.get("MedR")}

    rows = {CEILING: _cells(values(record["ceiling"])), MODEL: _cells(values(record))}
    if by_words := record["bag_of_words"]:
        rows["bag of words, caption to caption"] = _bounded_cells(
            values(by_words[ties]) for ties in BOUNDS
        )
    rows["random"] = _cells(values(record["random"]))
    title = (
        f"MiniCLIP's protocol, text → image: {count_text(record['queries'])} captions ask, "
        f"{count_text(record['images'])} images are ranked"
    )
    return _markdown(title, rows)


def _cells(values: Values) -> list[str]:
    return [
        "" if (value := values[name]) is None else value_text(value, unit)
        for name, unit in COLUMNS.items()
    ]


def _bounded_cells(bounds: Iterable[Values]) -> list[str]:
    """Return cells such as ``9.3 (7.8 to 40.6)``; the mean alone where the bounds equal it.

    Args:
        bounds: Least, mean and most, in the order of ``BOUNDS``.
    """
    low, mean, high = bounds
    return [
        _bounded_text(low[name], mean[name], high[name], unit) for name, unit in COLUMNS.items()
    ]


def _bounded_text(low: float | None, mean: float | None, high: float | None, unit: str) -> str:
    if low is None or mean is None or high is None:
        return ""
    least, most = sorted((low, high))
    texts = [value_text(value, unit) for value in (mean, least, most)]
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} ({texts[1]} to {texts[2]})"


def _markdown(title: str, rows: Mapping[str, list[str]]) -> str:
    lines = [["", *HEAD], *([name, *cells] for name, cells in rows.items())]
    return "\n".join([title, "", *markdown_table(lines), ""])


def markdown_table(rows: list[list[str]], *, numbers_right: bool = True) -> list[str]:
    """Return the lines of a Markdown table that is also read in a terminal.

    Args:
        rows: Cells; the first row is the head, the first column holds names.
        numbers_right: Whether all columns but the first are set flush right.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    names, *others = widths
    lines = [
        [row[0].ljust(names)]
        + [
            cell.rjust(width) if numbers_right else cell.ljust(width)
            for cell, width in zip(row[1:], others, strict=True)
        ]
        for row in rows
    ]
    last = ":" if numbers_right else "-"
    rule = ["-" * (names + 2), *("-" * (width + 1) + last for width in others)]
    head, *body = (f"| {' | '.join(cells)} |" for cells in lines)
    return [head, f"|{'|'.join(rule)}|", *body]
