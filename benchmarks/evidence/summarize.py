"""Summarize all studies: a table, and a module of the package for the advice before a run.

    python -m benchmarks.evidence.summarize

Reads results/*.json. Writes results/table.md, results/batches.md (the sets with several batch
sizes) and src/hardpairs/training/measured_gains.py; the latter leaves out other batch sizes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
MODULE = Path(__file__).parents[2] / "src/hardpairs/training/measured_gains.py"
RECIPES = (
    "hard-pairs",
    "hard-pairs-memory",
    "neighborhood",
    "memory",
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
    main_studies = {name: study for name, study in studies.items() if "-" not in name}
    MODULE.write_text(module(main_studies), encoding="utf-8")


def table(studies: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table with a row per study and recipe."""
    lines = [
        "| data | batch | recipe | R@1 | against plain | over splits | p (Holm) | time |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, study in studies.items():
        for row in study["rows"]:
            gain, over = row["gain"], row["over_splits"]
            cells = [
                *(name.partition("-")[0], str(study["plan"]["batch_size"]), row["recipe"]),
                f"{row['recall']:.2f}",
                "" if gain is None else f"{gain:+.2f}",
                f"[{over[0]:+.2f}, {over[1]:+.2f}]" if over else "",
                "" if row["p_holm"] is None else f"{row['p_holm']:.3f}",
                "" if row["time"] is None else f"{row['time']:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


COMPARED = ("large-batch", "large-batch-longer", "hard-pairs", "memory")


def by_batch(studies: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table of the sets with several batch sizes: gains by batch and recipe."""
    lines = [
        "| data | batch | plain, R@1 | four times the batch | the same, four times the rows "
        "| hard pairs | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    several = {name.partition("-")[0] for name in studies if "-" in name}
    chosen = [name for name in studies if name.partition("-")[0] in several]

    def order(name: str) -> tuple[str, int]:
        return name.partition("-")[0], studies[name]["plan"]["batch_size"]

    for name in sorted(chosen, key=order):
        rows = {row["recipe"]: row for row in studies[name]["rows"]}
        data, batch_size = order(name)
        cells = [data, str(batch_size), f"{rows['plain']['recall']:.2f}"]
        for recipe in COMPARED:
            gain, (low, high) = rows[recipe]["gain"], rows[recipe]["over_splits"]
            cells.append(f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def module(studies: dict[str, dict[str, Any]]) -> str:
    """Return the source of the package's module."""
    gains: dict[str, dict[str, tuple[float, ...]]] = {name: {} for name in RECIPES}
    for name, study in studies.items():
        for row in study["rows"]:
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
