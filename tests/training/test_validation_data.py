"""Pairs in order, without those whose images are unreadable."""

import pytest
import torch

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.training.validation_data import PairDataset, ValidationBatches, pair_batch
from tests.training.test_dataset import tokenizer, transform


def pairs_of(table, *unreadable):
    for row in unreadable:
        (table.parent / f"images/{row}.jpg").write_bytes(b"no image")
    return PairDataset(open_samples(table), transform, tokenizer)


def test_rejected_rows_are_left_out(table):
    samples = open_samples(table)
    samples.rejected[2] = "rejected"
    pairs = PairDataset(samples, transform, tokenizer)
    assert len(pairs) == 39 and pairs.rows[:3] == [0, 1, 3]
    position, _, tokens = pairs[2]
    assert position == 2 and tokens.tolist() == [len(samples.caption(3))]


@pytest.mark.parametrize("workers", [0, 1])
def test_readable_rows_in_order(table, workers):
    batches = ValidationBatches(pairs_of(table, 0, 1, 2, 3, 17), 4, workers)
    assert (len(batches), batches.num_samples) == (10, 40)
    sizes = [len(images) for images, texts in batches if len(images) == len(texts)]
    assert sizes == [4, 4, 4, 3, 4, 4, 4, 4, 4]  # the first four rows make no batch
    assert batches.rows == [row for row in range(4, 40) if row != 17]
    assert len(batches.unreadable) == 5


def test_no_readable_row_is_an_error(table):
    with pytest.raises(UserError, match="no validation image") as error:
        list(ValidationBatches(pairs_of(table, *range(40)), 8, 0))
    assert error.value.code == 3


def test_a_batch_of_unreadable_rows_is_empty():
    batch = pair_batch([(3, "not_an_image")])
    assert len(batch.positions) == 0 and batch.positions.dtype == torch.int64
    assert batch.unreadable == [(3, "not_an_image")]
