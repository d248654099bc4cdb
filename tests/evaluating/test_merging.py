"""The choice between averages."""

from hardpairs.evaluating.merging import Measured, best_of


def test_the_best_on_validation_data_and_of_equal_ones_the_nearest_to_the_start():
    measured = [Measured(0.0, 0.2, 0.9), Measured(0.4, 0.5, 0.7), Measured(0.8, 0.5, 0.8)]
    assert best_of(measured).alpha == 0.4
    assert best_of([*measured, Measured(1.0, 0.6, 0.1)]).alpha == 1.0
