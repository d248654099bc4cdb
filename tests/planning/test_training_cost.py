"""What the model of training says."""

import pytest

from hardpairs.planning.training_cost import Run, training_cost
from tests.planning.machines import WITH_MODEL


def test_hard_pairs_make_an_epoch_longer():
    assert Run(64, hard_per_target=0).steps(6400, 2) == 50
    assert Run(64, hard_per_target=1).steps(6400, 2) == 100
    assert Run(64).steps(1, 1) == 1


def test_stages_of_a_run():
    run = Run(batch_size=100, epochs=3, hard_per_target=0)
    alone = training_cost(WITH_MODEL, 1000, run)
    assert alone.stages["model"] == pytest.approx(3 * 1000 * 0.1)
    assert alone.stages["loss"] == pytest.approx(30 * 100**2 * (1e-8 + 512e-11))
    assert alone.network == 0 and alone.kept == 3 * 12 * 151_000_000
    four = training_cost(WITH_MODEL, 1000, run, processes=4)
    assert four.stages["model"] == pytest.approx(3 * 3 * 100 * 0.1)
    assert four.network == 9 * (2 * 0.75 * 4 * 151_000_000 + 0.75 * 400 * 2 * 4 * 512)


def test_more_rows_cost_more():
    times = [training_cost(WITH_MODEL, rows, Run()).seconds for rows in (100, 1000, 10**8)]
    assert times == sorted(set(times))
