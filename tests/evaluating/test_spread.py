"""Mean and spread over seeds by hand."""

import pytest

from hardpairs.evaluating.runs import read_methods
from hardpairs.evaluating.spread import measured, spread, spread_of
from tests.photos.runs import write_photos, write_run


def test_spread_by_hand():
    found = spread_of([0.4, 0.5, 0.6])
    assert found.mean == pytest.approx(0.5) and found.sd == pytest.approx(0.1)
    assert found.values == (0.4, 0.5, 0.6)
    assert spread_of([0.5]).sd is None


def test_only_what_all_runs_of_a_method_have(tmp_path):
    photos = write_photos(tmp_path)
    folders = [
        write_run(photos, "a", "lstm", seed=0),
        write_run(photos, "b", "lstm", seed=1, full=False),
    ]
    method = read_methods(folders)[0]
    assert "miniclip.R@1" in measured(method.runs[0]) and "miniclip.R@1" not in spread(method)
