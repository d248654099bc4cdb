"""The gains in the package are those of the studies in benchmarks/evidence/results."""

from __future__ import annotations

import json

from hardpairs.training.measured_gains import GAINS
from tests.helpers import ROOT


def rows_of(name):
    path = ROOT / f"benchmarks/evidence/results/{name}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def test_they_are_the_studies_results():
    by_set = {}
    for name in {name for gains in GAINS.values() for name in gains}:
        by_set[name] = {
            row["recipe"]: row for path in (f"{name}-matched", name) for row in rows_of(path)
        }
    assert {"tuxpaint", "openclipart"} <= set(by_set)
    for recipe, gains in GAINS.items():
        for name, values in gains.items():
            row = by_set[name][recipe]
            told = [round(value, 2) for value in (row["gain"], *row["over_splits"])]
            assert list(values) == told, (recipe, name)
