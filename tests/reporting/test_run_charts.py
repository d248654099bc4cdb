"""Charts of the report."""

import json
from pathlib import Path

from hardpairs.evaluating.runs import read_methods
from hardpairs.reporting.run_charts import report_charts


def test_base_and_continuations_are_told_apart(four: list[Path]) -> None:
    titles = [chart.title for chart in report_charts(read_methods(four))]
    assert titles[:2] == ["Base model: loss", "Continuations: loss"]
    assert "SANW: mean weight of a negative" in titles
    assert {"SANW: negatives by their weight, %", "Validation R@1, image → text, %"} <= {*titles}


def test_a_watched_data_set_has_a_chart(four: list[Path]) -> None:
    assert "Watched data, %" not in [c.title for c in report_charts(read_methods(four))]
    lines = [{"epoch": epoch, "watch_top-1": 0.5 - epoch / 10} for epoch in range(3)]
    results = four[2] / "checkpoints/results.jsonl"
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    charts = {chart.title: chart for chart in report_charts(read_methods(four))}
    assert "Epoch 0 is the start model." in charts["Watched data, %"].note
