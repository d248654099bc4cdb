"""Batches as workers load them: what becomes of a group when one of its pictures cannot be read."""

import numpy as np

from hardpairs.training.data import _orphaned
from hardpairs.training.samplers import ANCHOR, MINED, RANDOM, RESERVE


def test_partners_of_a_replaced_target_are_random_and_others_stay():
    planned = np.array([ANCHOR, MINED, MINED, ANCHOR, MINED, MINED], np.uint8)
    roles = np.array(
        [ANCHOR, RESERVE, MINED, RESERVE, MINED, MINED], np.uint8
    )  # a partner of the first, the second target itself
    assert _orphaned(planned, roles).tolist() == [ANCHOR, RESERVE, MINED, RESERVE, RANDOM, RANDOM]
    assert _orphaned(planned, planned).tolist() == planned.tolist()
