"""Training data: batches in epochs, and other files to follow from on the way."""

from pathlib import Path

import numpy as np
import pytest

from hardpairs.batches import RandomBatchSampler
from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import HardPairTable, write_table
from hardpairs.data.opening import open_samples
from hardpairs.training.batching import BatchingConfig
from hardpairs.training.data import Remining, batches_per_epoch, check_ranks_agree, train_data
from tests.training.test_dataset import tokenizer, transform


def test_steps_are_cut_into_equal_epochs():
    sampler = RandomBatchSampler(24, batch_size=2, accumulate=3)
    assert batches_per_epoch(sampler) == len(sampler) == 12
    assert batches_per_epoch(sampler, max_steps=10, epochs=5) == 6
    with pytest.raises(UserError, match="`max_steps` 10 cannot be cut into `epochs` 4"):
        batches_per_epoch(sampler, max_steps=10, epochs=4)


def test_files_of_an_epoch():
    remining = Remining(2, Path("run"))
    sources = [remining.source(epoch) for epoch in range(6)]
    assert sources == [None, None, *2 * [Path("run/epoch_2")], *2 * [Path("run/epoch_4")]]
    assert Remining(None, Path("run")).source(7) is None
    from_start = Remining(None, Path("run"), at_start=True)
    assert from_start.source(0) == from_start.source(7) == Path("run/epoch_0")
    assert from_start.is_missing(7) and not remining.is_missing(2)


def test_one_process_agrees_with_itself(table):
    check_ranks_agree(open_samples(table), RandomBatchSampler(40, batch_size=4))


def test_batches_follow_from_the_hard_pairs_of_their_epoch(table, hard_pairs, tmp_path):
    samples = open_samples(table)
    indices = (np.arange(40)[:, None] + 1) % 40
    manifest = {"dataset_fingerprint": samples.fingerprint, "kind": "hard_pairs"}
    write_table(tmp_path / "epoch_1", indices, np.ones((40, 1), np.float32), manifest)
    values = {"batching": "hard-pairs", "batch_size": 4, "accum_freq": 1, "seed": 0}
    data = train_data(
        samples,
        BatchingConfig.from_values({**values, "hard_dict_dir": str(hard_pairs)}),
        transform,
        tokenizer,
        remining=Remining(1, tmp_path),
    )
    assert data.dataloader.num_batches == 20 and data.dataloader.num_samples == 80
    first = data.table
    data.set_epoch(1)
    new = HardPairTable.open(tmp_path / "epoch_1")
    assert data.table is not first and np.array_equal(data.table.indices, new.indices)
    batch = next(iter(data.dataloader))
    rows = batch.info.rows.reshape(-1, 2)
    assert ((rows[:, 0] + 1) % 40 == rows[:, 1]).all() and batch.info.epochs_done == 1


@pytest.mark.parametrize(
    ("empty_rows", "others"), [("random", "get random rows"), ("skip", "are no targets")]
)
def test_rows_without_hard_pairs_are_told(table, tmp_path, caplog, empty_rows, others):
    samples = open_samples(table)
    indices = np.where(np.arange(40) % 4 > 0, (np.arange(40) + 1) % 40, -1)[:, None]
    manifest = {"dataset_fingerprint": samples.fingerprint}
    write_table(tmp_path / "table", indices, np.zeros((40, 1), np.float32), manifest)
    values = {"batching": "hard-pairs", "batch_size": 4, "accum_freq": 1, "seed": 0}
    values |= {"hard_dict_dir": str(tmp_path / "table"), "empty_rows": empty_rows}
    train_data(samples, BatchingConfig.from_values(values), transform, tokenizer)
    (told,) = [record for record in caplog.records if "Hard pairs" in record.message]
    assert told.levelname == "WARNING" and told.message == (
        f"Hard pairs: 30 of 40 usable rows have some (75.0%); the others {others}."
    )
