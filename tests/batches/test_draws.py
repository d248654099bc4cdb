"""Draws from the lists of hard pairs, and how targets share the rows."""

import numpy as np

from hardpairs.batches import BATCHES
from hardpairs.batches.draws import (
    WEIGHTS,
    CycleDraw,
    UniformDraw,
    WeightedDraw,
    choose_hard_pairs,
    list_weights,
)


def test_every_choice_but_a_cycle_has_weights():
    options = {option.field: option for option in BATCHES["hard-pairs"].options}
    assert (*WEIGHTS, "cycle") == options["hard_choice"].facts["choices"]


def test_weights_of_ranks():
    exists, ranks = np.array([[True, True, False]]), np.array([[2, 3, 4]])
    scores = np.array([[0.8, 0.4, 0.2]])
    weights = {choice: list_weights(choice, exists, ranks, lambda: scores)[0] for choice in WEIGHTS}
    assert weights["uniform"].tolist() == [1, 1, 0]
    assert weights["rank"].tolist() == [1 / 3, 1 / 4, 0]
    assert weights["score"].tolist() == [0.8, 0.4, 0]


def test_a_weighted_draw_ends_with_the_list():
    draw = WeightedDraw(np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), np.random.default_rng(0))
    ranks = [draw.next(np.array([0, 1])) for _ in range(3)]
    assert sorted(int(rank[0]) for rank in ranks) == [-1, 1, 2]
    assert [int(rank[1]) for rank in ranks] == [-1, -1, -1]


def test_a_cycle_goes_on_where_it_stopped():
    def ranks(start, count):
        draw = CycleDraw(np.array([7]), np.array([4]), 4, start, seed=0)
        return [int(draw.next(np.array([0]))[0]) for _ in range(count)]

    whole = ranks(0, 5)
    assert sorted(whole[:4]) == [0, 1, 2, 3] and whole[4] == -1
    assert ranks(2, 2) == whole[2:4]


class InOrder:
    """Ranks 0, 1, ... of lists of a given length."""

    def __init__(self, lengths):
        self.lengths, self.next_rank = lengths, np.zeros(len(lengths), int)

    def next(self, targets):
        rank = self.next_rank[targets]
        self.next_rank[targets] += 1
        return np.where(rank < self.lengths[targets], rank, -1)


def test_the_first_target_gets_a_row_that_two_claim():
    """Targets 0, 1, 2 list (5, 6), (5, 0), (5, 9); row 0 is a target and row 9 cannot be used."""
    lists = np.array([[5, 6], [5, 0], [5, 9]])
    chosen = choose_hard_pairs(
        np.arange(3),
        InOrder(np.array([2, 2, 2])),
        lambda positions, ranks: lists[positions, ranks],
        lambda rows: rows != 9,
        1,
    )
    assert chosen.tolist() == [[5], [-1], [-1]]


def test_uniform_draws_go_through_a_list_without_repetition():
    """As the draw by equal weights does, with the same chances."""
    lengths, counts = np.array([5, 0, 3, 1]), np.zeros((4, 5))
    for seed in range(3000):
        draw = UniformDraw(lengths, np.random.default_rng(seed))
        drawn = [
            draw.next(np.arange(4)),
            draw.next(np.array([2, 0])),
            *(draw.next(np.array([0, 2, 3])) for _ in range(4)),
        ]
        of_first = [drawn[0][0], drawn[1][1], *(ranks[0] for ranks in drawn[2:])]
        assert sorted(of_first) == [-1, 0, 1, 2, 3, 4] and of_first[-1] == -1
        assert sorted([drawn[0][2], drawn[1][0], *(ranks[1] for ranks in drawn[2:])]) == [
            -1,
            -1,
            -1,
            0,
            1,
            2,
        ]
        assert drawn[0][1] == -1 and drawn[0][3] == 0 and drawn[2][2] == -1
        counts[0, of_first[1]] += 1
        counts[2, drawn[0][2]] += 1
    assert (
        abs(counts[0] - 600).max() < 110 and abs(counts[2, :3] - 1000).max() < 130
    )  # five standard deviations
