"""Numbers as text."""

from hardpairs.pages import numbers


def test_counts_and_durations():
    assert numbers.plural(1, "run") == "1 run" and numbers.plural(1200, "run") == "1,200 runs"
    assert [numbers.seconds_text(seconds) for seconds in (48, 365, 7800)] == [
        "48 s",
        "6 min 05 s",
        "2 h 10 min",
    ]


def test_p_values_and_lists():
    assert [numbers.p_phrase(p) for p in (0.0001, 0.012, 0.5)] == [
        "p < .001",
        "p = .012",
        "p = .50",
    ]
    assert numbers.enumerate_words(["a"]) == "a"
    assert numbers.enumerate_words(["a", "b", "c"]) == "a, b and c"
