"""Whole batches as workers load them, and the batches of a run."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hardpairs.batches import HARD_PAIR, RANDOM, SPARE, TARGET, BatchInfo, RandomBatchSampler
from hardpairs.core.errors import UserError
from hardpairs.data.samples import open_samples
from hardpairs.training.dataset import PlannedDataset, RunBatches


def transform(image):
    return torch.full((3, 2, 2), float(np.asarray(image).mean()))


def tokenizer(captions):
    return torch.tensor([[len(caption)] for caption in captions])


def dataset_of(table, *unreadable):
    for row in unreadable:
        (table.parent / f"images/{row}.jpg").write_bytes(b"no image")
    return PlannedDataset(open_samples(table), transform, tokenizer)


def plan(rows, roles, spares):
    return BatchInfo.planned(np.array(rows), np.array(roles, np.uint8), np.array(spares))


def test_a_batch_holds_what_its_rows_say(table):
    dataset = dataset_of(table)
    batch = dataset.__getitems__(plan([5, 12], [TARGET, HARD_PAIR], [30]))
    assert batch.images.shape == (2, 3, 2, 2) and batch.texts.tolist() == [[16], [17]]
    assert batch.info.rows.tolist() == [5, 12] and batch.info.targets.tolist() == [5, 5]
    assert batch.info.group_ids.tolist() == dataset.samples.positives[[5, 12]].tolist()
    alone = dataset.__getitems__(plan([12], [TARGET], []))
    assert torch.equal(alone.images[0], batch.images[1])


def test_spares_replace_unreadable_rows_in_order(table):
    dataset = dataset_of(table, 5, 31)
    roles = [TARGET, HARD_PAIR, TARGET, HARD_PAIR]
    batch = dataset.__getitems__(plan([5, 12, 7, 8], roles, [31, 32, 33]))
    assert batch.info.rows.tolist() == [32, 12, 7, 8]
    assert batch.info.roles.tolist() == [SPARE, RANDOM, TARGET, HARD_PAIR]
    assert [row for row, _ in batch.info.unreadable] == [5, 31]
    assert batch.texts[0].tolist() == [len(dataset.samples.caption(32))]


def test_too_few_spares_are_an_error_that_keeps_its_fields(table):
    """It is returned, since a DataLoader loses the fields of an exception of a worker."""
    loader = DataLoader(
        dataset_of(table, 5, 31),
        batch_sampler=[plan([5, 12], [TARGET, TARGET], [31])],
        num_workers=1,
        collate_fn=lambda batch: batch,
    )
    (error,) = list(loader)
    assert isinstance(error, UserError) and error.code == 3
    assert "[5, 31]" in error.where and "spares" in error.what


@pytest.mark.parametrize("num_batches", [5, 3])
def test_a_run_goes_through_all_batches_whatever_its_epochs(num_batches):
    """Epochs of the run that are shorter than those of the batch maker leave no batch out."""
    sampler = RandomBatchSampler(20, batch_size=4)
    batches = RunBatches(sampler, num_batches)
    assert len(batches) == num_batches
    plans = []
    for batches.epoch in range(15 // num_batches):
        plans += list(batches)
    expected = [sampler.plan(number, epoch) for epoch in range(3) for number in range(5)]
    assert [p.rows.tolist() for p in plans] == [p.rows.tolist() for p in expected]
    assert [p.epochs_done for p in plans] == [number / num_batches for number in range(15)]
