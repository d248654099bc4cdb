"""Run folders, read and grouped."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardpairs.core.errors import UserError
from hardpairs.evaluating.runs import direction_of, open_evaluated, read_methods, starting_runs
from tests.reporting.runs import ROWS, write_data, write_run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A CSV of pairs."""
    return write_data(tmp_path)


def test_runs_of_one_name_are_seeds_of_one_method(data: Path) -> None:
    folders = [write_run(data, "hard", 2), write_run(data, "plain"), write_run(data, "hard", 1)]
    hard, plain = read_methods(folders)
    assert [run.seed for run in hard.runs] == [2, 1] and hard.first.folder == folders[0]
    assert (hard.label, plain.label) == ("hard-pair batches", "plain continuation")
    assert {direction_of(name) for name in plain.first.metrics} == {
        "image_to_text",
        "text_to_image",
    }


def test_runs_that_others_start_from(data: Path) -> None:
    methods = read_methods([write_run(data, "base"), write_run(data, "hard")])
    assert starting_runs(methods) == [methods[0].first]
    assert starting_runs(methods[:1]) == []


def test_the_data_of_a_run(data: Path) -> None:
    run = read_methods([write_run(data, "plain")])[0].first
    assert len(open_evaluated(run)) == ROWS
    data.write_text(data.read_text().replace("thing number 1,", "thing number one,"))
    with pytest.raises(UserError, match="made from other data") as error:
        open_evaluated(run)
    assert error.value.code == 4
