"""Write what the studies measured into the package, for the advice before a training run.

    python -m benchmarks.evidence.summarize

Reads results/*.json and writes src/hardpairs/training/measured_gains.py.
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
    """Write the module."""
    gains: dict[str, dict[str, tuple[float, float, float]]] = {name: {} for name in RECIPES}
    for path in sorted(RESULTS.glob("*.json")):
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for row in record.get("rows", ()):
            if row["recipe"] in gains and row["over_splits"]:
                values = (row["gain"], *row["over_splits"])
                gains[row["recipe"]][path.stem] = tuple(round(value, 2) for value in values)
    lines = []
    for name, by_set in gains.items():
        lines += [
            f'    "{name}": {{',
            *(f'        "{k}": {v},' for k, v in by_set.items()),
            "    },",
        ]
    MODULE.write_text(HEAD + "\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
