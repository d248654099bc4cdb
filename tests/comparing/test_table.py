"""The table of losses by hand."""

import pytest

from hardpairs.comparing.table import Training, disagreements, markdown, preferred, rows_of
from tests.comparing.made import results_of


def test_table_by_hand():
    measured = {
        "a": [results_of([1, 0, 1, 0]), results_of([1, 1, 1, 0])],
        "b": [results_of([0, 0, 0, 0]), results_of([1, 0, 0, 0])],
    }
    first, second = rows_of(measured, {"a": Training(0.1, (1, 1), 0.5)})
    assert (first.loss, first.mean["mAP"], first.p) == ("a", 0.625, None)
    assert first.spread["mAP"] == pytest.approx(0.25 / 2**0.5) and second.mean["mAP"] == 0.125
    assert 0 < second.p < 1
    assert disagreements(measured, 2) == [
        2,
        0,
    ]  # two thirds apart, then a half; places of equal spread by number


def test_validation_chooses_and_the_test_reports():
    measured = {"start": [results_of([0, 0])], "a": [results_of([1, 1])], "b": [results_of([1, 0])]}
    trainings = {"a": Training(0.1, (1,), 0.5), "b": Training(0.1, (1,), 0.6)}
    rows = rows_of(measured, trainings)
    assert rows[0].loss == "a" and preferred(rows) == ("b", 0.6)
    assert "| b | 1 | 0.1 | 60.0 | 50.0 |" in markdown(
        rows
    ) and "| start | 1 |  |  | 0.0 |" in markdown(rows)
