"""What a guide takes out of a row: worked examples, ties, and its largest share."""

import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import ContrastiveLoss
from hardpairs.losses.guide import GuideRule, limits
from tests.losses.helpers import SCALE, features

SIMILARITY = torch.tensor([[0.5, 0.7, 0.5, 0.6, 0.9, 0.1]])


def dropped(rule, negatives=(False, True, True, True, True, True)):
    similarity, negatives = SIMILARITY, torch.tensor([negatives])
    limit = limits(similarity, negatives, 0, rule)
    return (negatives & (similarity > limit)).nonzero()[:, 1].tolist()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (GuideRule(0.0, 1.0), [1, 3, 4]),  # a tie with the own pair stays
        (GuideRule(0.05, 1.0), [1, 2, 3, 4]),
        (GuideRule(0.0, 0.4), [1, 4]),  # the most similar two of five
        (GuideRule(0.0, 0.39), [4]),
        (GuideRule(0.0, 0.1), []),
        (GuideRule(2.0, 1.0), [1, 2, 3, 4, 5]),
    ],
)
def test_worked_example(rule, expected):
    assert dropped(rule) == expected


def test_known_positives_do_not_count():
    assert dropped(GuideRule(0.0, 0.5), (False, True, True, True, False, True)) == [1, 3]


def test_directions_differ():
    """Text 1 fits image 0 better than its own, and image 0 does not fit text 1 better."""
    image, text = torch.eye(4, 5), torch.eye(4, 5)
    text[0], text[1] = torch.tensor([[0.5, 0, 0, 0, 0.75**0.5], [0.6, 0.8, 0, 0, 0]])
    loss = ContrastiveLoss(guide=GuideRule(max_share=1.0))
    negatives = loss.negatives(*features(4), BatchInfo(guide_features=(image, text)))
    by_row, by_column = negatives.guided.dropped_both_ways(slice(0, 4))
    assert by_row.nonzero().tolist() == [[0, 1]]
    assert not by_column.any()


def test_a_copy_of_the_own_pair_stays_in_any_block():
    """Its similarity equals the own pair's but for the last bits of a product."""
    image, text = (side.float() for side in features(300, 64))
    image, text = image.repeat(2, 1), text.repeat(2, 1)
    info = BatchInfo(guide_features=(image, text))
    for block_rows in (None, 7):
        loss = ContrastiveLoss(guide=GuideRule(), block_rows=block_rows)
        negatives = loss.negatives(image, text, info)
        for way in negatives.guided.dropped_both_ways(slice(0, 600)):
            assert not way.diagonal(300).any() and not way.diagonal(-300).any() and way.any()


def test_the_share_is_logged():
    x, y = features()
    loss = ContrastiveLoss(guide=GuideRule(0.0, 0.2))
    loss(x, y, SCALE, info=BatchInfo(guide_features=features(seed=1)))
    numbers, _ = loss.statistics()
    dropped = loss.last.negatives.guided.dropped_both_ways(slice(0, 12))
    share = sum(int(way.sum()) for way in dropped) / (2 * 12 * 11)
    assert numbers["guided_pct"] == pytest.approx(100 * share) and 0 < share <= 0.2
