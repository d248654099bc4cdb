"""Summarize all studies: a table, and a module of the package for the advice before a run.

    python -m benchmarks.evidence.summarize

Reads results/*.json. Writes results/table.md (all), results/batches.md (gains by data set and batch
size), results/grid.md (gains by batches and loss) and src/hardpairs/training/measured_gains.py (the
first study of each set, and its matched memory).
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.evidence.run import (
    GRID_BATCHES,
    GRID_LOSSES,
    MAP_RECIPES,
    STUDIES,
    data_name,
)

RESULTS = Path(__file__).parent / "results"
MODULE = Path(__file__).parents[2] / "src/hardpairs/training/measured_gains.py"
MATCHED_MEMORY = "memory-matched"
RECIPES = (
    "hard-pairs",
    "hard-pairs-memory",
    "neighborhood",
    "memory",
    MATCHED_MEMORY,
    "global",
    "sanw",
    "hardness",
)
HEAD = '''"""Measured gains of recipes over plain training; ``benchmarks.evidence.summarize`` writes it.

Heads over frozen features of small sets: points of R@1 on pairs that were not trained on, with the
95 % interval over splits, by recipe and data set.
"""

from __future__ import annotations

GAINS: dict[str, dict[str, tuple[float, float, float]]] = {
'''


def main() -> None:
    """Write the files."""
    studies = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(RESULTS.glob("*.json"))
    }
    (RESULTS / "table.md").write_text(table(studies), encoding="utf-8")
    (RESULTS / "batches.md").write_text(by_batch(studies), encoding="utf-8")
    (RESULTS / "grid.md").write_text(by_loss(studies), encoding="utf-8")
    MODULE.write_text(module(main_rows(studies)), encoding="utf-8")


def main_rows(studies: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each set's first study, with the matched memory of its other one."""
    rows = {name: list(study["rows"]) for name, study in studies.items() if "-" not in name}
    for name, of_set in rows.items():
        other = studies.get(f"{name}-matched", {"rows": ()})["rows"]
        of_set += (row for row in other if row["recipe"] == MATCHED_MEMORY)
    return rows


def table(studies: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table with a row per study and recipe."""
    lines = [
        "| data | trained | batch | recipe | R@1 | against plain | over splits | p (Holm) | time |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, study in studies.items():
        whole = "whole" if STUDIES[name].whole else "heads"
        head = (data_name(STUDIES[name]), whole, str(study["plan"]["batch_size"]))
        for row in study["rows"]:
            cells = [
                *(*head, row["recipe"], f"{row['recall']:.2f}", *gain_cells(row)),
                "" if row["p_holm"] is None else f"{row['p_holm']:.3f}",
                "" if row["time"] is None else f"{row['time']:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def gain_cells(row: dict[str, Any]) -> tuple[str, str]:
    """Return a row's gain, and its interval over splits; empty where there is none."""
    gain, over = row["gain"], row["over_splits"]
    return (
        "" if gain is None else f"{gain:+.2f}",
        f"[{over[0]:+.2f}, {over[1]:+.2f}]" if over else "",
    )


def by_batch(studies: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table of the sets with several batch sizes: gains by batch and recipe."""
    lines = [
        "| data | batch | plain, R@1 | four times the batch | the same, four times the rows "
        "| hard pairs | memory |",
        "|---|---|---|---|---|---|---|",
    ]

    chosen = [
        name
        for name, study in STUDIES.items()
        if name in studies and set(MAP_RECIPES) <= set(study.recipes) and not study.whole
    ]

    def order(name: str) -> tuple[str, int]:
        return data_name(STUDIES[name]), STUDIES[name].batch_size

    sets = Counter(data_name(STUDIES[name]) for name in chosen)
    for name in sorted((name for name in chosen if sets[order(name)[0]] > 1), key=order):
        rows = {row["recipe"]: row for row in studies[name]["rows"]}
        cells = [*map(str, order(name)), f"{rows['plain']['recall']:.2f}"]
        cells += [" ".join(gain_cells(rows[recipe])) for recipe in MAP_RECIPES[1:]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def by_loss(studies: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table of the grids: gains by data set, batches (rows) and loss (columns)."""
    lines = [
        f"| data | batches | {' | '.join(GRID_LOSSES)} |",
        f"|---|---|{'---|' * len(GRID_LOSSES)}",
    ]
    for name in (name for name in studies if name.endswith("-grid")):
        rows = {row["recipe"]: row for row in studies[name]["rows"]}
        rows["random+clip"] = rows["plain"]
        for batches in GRID_BATCHES:
            found = [rows.get(f"{batches}+{loss}") for loss in GRID_LOSSES]
            cells = [" ".join(gain_cells(row)) if row else "" for row in found]
            lines.append(f"| {data_name(STUDIES[name])} | {batches} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def module(rows_of_sets: dict[str, list[dict[str, Any]]]) -> str:
    """Return the source of the package's module."""
    gains: dict[str, dict[str, tuple[float, ...]]] = {name: {} for name in RECIPES}
    for name, rows in rows_of_sets.items():
        for row in rows:
            if row["recipe"] in gains and row["over_splits"]:
                values = (row["gain"], *row["over_splits"])
                gains[row["recipe"]][name] = tuple(
                    round(value, 2) + 0.0 for value in values
                )  # no -0.0
    lines = []
    for recipe, by_set in gains.items():
        lines += [
            f'    "{recipe}": {{',
            *(f'        "{name}": {values},' for name, values in by_set.items()),
            "    },",
        ]
    return HEAD + "\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
