"""Laws of plain batches."""

import numpy as np
import pytest

from hardpairs.batches import RandomBatchSampler
from hardpairs.core.errors import UserError
from tests.batches.helpers import all_ranks, check_batches, epoch


@pytest.mark.parametrize("world_size", range(1, 9))
@pytest.mark.parametrize("exclude", [[], [0, 7, 100]])
def test_random_batches_cover_the_data_once(world_size, exclude):
    batches = epoch(
        all_ranks(
            RandomBatchSampler,
            101,
            world_size=world_size,
            batch_size=4,
            seed=1,
            exclude=np.array(exclude),
        )
    )
    check_batches(batches, 4 * world_size, np.array(exclude))
    rows = np.concatenate([batch[0] for batch in batches])
    kept = set(range(101)) - set(exclude)
    assert set(rows[: len(kept)]) == set(rows) == kept and len(rows) < len(kept) + 4 * world_size
    one = np.concatenate(
        [
            batch[0]
            for batch in epoch(
                [
                    RandomBatchSampler(
                        101, batch_size=4 * world_size, seed=1, exclude=np.array(exclude)
                    )
                ]
            )
        ]
    )
    assert (one == rows).all()


@pytest.mark.parametrize(
    ("rows", "processes", "fix"),
    [
        (6, 1, "`batch_size` 6 or smaller"),
        (1, 1, "more data"),  # a batch of one pair has no negatives
        (1, 2, "more data, or fewer processes"),
        (2, 2, "`batch_size` 1 or smaller"),
    ],
)
def test_too_few_rows_for_a_batch(rows, processes, fix):
    with pytest.raises(UserError, match="fewer than one global batch") as error:
        RandomBatchSampler(rows, batch_size=8, world_size=processes)
    assert error.value.fix == fix
