"""The time of a prediction is that of its stages."""

from hardpairs.planning.cost import Cost


def test_seconds_are_those_of_all_stages():
    cost = Cost("mine", 2, {"search": 3.0, "decide": 0.5}, 1, 2, 3, 4, 5)
    assert cost.seconds == 3.5
