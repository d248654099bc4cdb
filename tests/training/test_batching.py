"""The choice of a batch maker by the values of flags."""

import numpy as np
import pytest

from hardpairs.batches import HardPairBatchSampler, RandomBatchSampler
from hardpairs.core.errors import UserError, flags
from hardpairs.data.opening import open_samples
from hardpairs.training.batching import BatchingConfig
from tests.helpers import picture, write_tar

VALUES = {"batching": "hard-pairs", "batch_size": 8, "accum_freq": 2, "seed": 3}


def test_values_that_are_not_given_have_the_makers_defaults(hard_pairs):
    values = {**VALUES, "hard_dict_dir": str(hard_pairs), "hard_topk": None, "hard_skip": 1}
    config = BatchingConfig.from_values(values)
    assert (config.options.hard_topk, config.options.hard_skip) == (50, 1)
    assert config.options.hard_pairs == str(hard_pairs)
    assert (config.batch_size, config.accumulate, config.seed) == (8, 2, 3)


def test_the_sampler_is_that_of_the_values(table, hard_pairs):
    values = {**VALUES, "hard_dict_dir": str(hard_pairs)}
    sampler = BatchingConfig.from_values(values).sampler(open_samples(table))
    direct = HardPairBatchSampler(40, sampler.table, batch_size=8, accumulate=2, seed=3)
    assert np.array_equal(sampler.batch(1), direct.batch(1))
    other = BatchingConfig.from_values(values, batching="random").sampler(open_samples(table))
    assert isinstance(other, RandomBatchSampler)


def test_other_files_to_follow_from(hard_pairs):
    config = BatchingConfig.from_values({**VALUES, "hard_dict_dir": str(hard_pairs)})
    assert config.following("remined").options.hard_pairs == "remined"
    topical = BatchingConfig.from_values(
        {**VALUES, "batching": "topical", "batching_embeddings": "first"}
    )
    assert topical.following("remined").options.embeddings == "remined"


def test_errors_name_flags_where_the_command_asks_for_them(table, hard_pairs):
    config = BatchingConfig.from_values(
        {**VALUES, "hard_dict_dir": str(hard_pairs), "batch_size": 5}
    )
    with pytest.raises(UserError, match="--batch-size 4 or 6"), flags(**config.flags):
        config.sampler(open_samples(table))
    with pytest.raises(UserError, match="--hard-topk must be at least 1") as error:
        BatchingConfig.from_values({**VALUES, "hard_topk": 0})
    assert error.value.code == 2


def test_data_without_a_usable_row_is_told_with_what_it_holds(tmp_path):
    """Not by the size of a batch."""
    members = {f"s{i}": {"jpg": picture(i), "json": b'{"caption": "a hill"}'} for i in range(5)}
    shard = write_tar(tmp_path / "0.tar", members)
    config = BatchingConfig.from_values(VALUES, batching="random")
    with pytest.raises(UserError, match="no sample of the shards can be used") as error:
        config.sampler(open_samples(shard))
    assert error.value.code == 3 and "5 times empty_caption" in error.value.why
    assert not open_samples(shard, caption_key="caption").rejected
