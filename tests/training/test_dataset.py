"""Whole batches as workers load them, and the batches of a run."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hardpairs.batches import HARD_PAIR, RANDOM, SPARE, TARGET, BatchInfo, RandomBatchSampler
from hardpairs.core import ranges
from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.training.dataset import PlannedDataset, RunBatches
from tests.file_server import Down, Flaky, Ranges, serving


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


@pytest.mark.parametrize("workers", [0, 1, 2, 7])
def test_a_plan_says_which_rows_its_worker_loads_next(workers):
    plans = list(RunBatches(RandomBatchSampler(20, batch_size=4), 5, workers))
    turns = max(workers, 1)
    for plan, coming in zip(plans, plans[turns:] + [None] * turns, strict=False):
        assert (plan.coming is None) == (coming is None)
        assert coming is None or plan.coming.tolist() == coming.rows.tolist()


def loaded(source, workers):
    """The batches of an epoch, and the requests for images where the data is behind a URL."""
    samples = open_samples(source, allow_remote=True)
    sampler = RandomBatchSampler(len(samples), batch_size=4, exclude=list(samples.rejected))
    return list(
        DataLoader(
            PlannedDataset(samples, transform, tokenizer),
            batch_sampler=RunBatches(sampler, len(sampler), workers),
            num_workers=workers,
            collate_fn=lambda batch: batch,
        )
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_over_http_are_those_on_disk(shards, tmp_path, monkeypatch, workers):
    """Whatever fails now and then; an image is requested once for each batch that holds it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(ranges, "WAITS", (0.0,) * 8)
    local = loaded(str(shards), 0)
    name = "shards/{00000..00002}.tar"
    for server in (Ranges, Flaky):
        with serving(tmp_path, server) as url:
            open_samples(f"{url}/{name}", allow_remote=True)  # makes the indexes
            before = server.asked
            remote = loaded(f"{url}/{name}", workers)
        for ours, theirs in zip(remote, local, strict=True):
            assert torch.equal(ours.images, theirs.images) and torch.equal(ours.texts, theirs.texts)
            assert ours.info.rows.tolist() == theirs.info.rows.tolist() and not ours.info.unreadable
        if server is Ranges:
            opening = 2 * 3  # each tar is looked at twice
            assert Ranges.asked - before == opening + sum(len(batch.images) for batch in local)


def test_a_server_that_stays_down_ends_the_batch_with_its_answer(shards, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(ranges, "WAITS", (0.0,))
    with serving(tmp_path, Ranges) as url:
        samples = open_samples(f"{url}/shards/{{00000..00002}}.tar", allow_remote=True)
    with serving(tmp_path, Down) as other:
        samples.files.paths = [path.replace(url, other) for path in samples.files.paths]
        error = PlannedDataset(samples, transform, tokenizer).__getitems__(
            plan([5, 12], [TARGET, TARGET], [15])
        )
    assert error.code == 3 and "503" in error.why and "check the server" in error.fix
