"""Charts of the report."""

from pathlib import Path

from hardpairs.evaluating.runs import read_methods
from hardpairs.reporting.run_charts import report_charts


def test_base_and_continuations_are_told_apart(four: list[Path]) -> None:
    titles = [chart.title for chart in report_charts(read_methods(four))]
    assert titles[:2] == ["Base model: loss", "Continuations: loss"]
    assert "SANW: mean weight of a negative" in titles
    assert {"SANW: negatives by their weight, %", "Validation R@1, image → text, %"} <= {*titles}
