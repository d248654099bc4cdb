"""Global batches of a run, and how they are drawn."""

from hardpairs.batches import RandomBatchSampler
from hardpairs.reporting.run_batches import global_batches, spread_steps


def test_accumulated_micro_batches_are_one_global_batch():
    sampler = RandomBatchSampler(20, batch_size=2, accumulate=3)
    assert [len(batch.rows) for batch in global_batches(sampler, 0)] == [6] * sampler.steps


def test_steps_are_spread_over_the_epoch_and_differ():
    sampler = RandomBatchSampler(20, batch_size=2)
    assert spread_steps(sampler, 4) == [0, 3, 6, 9]
    assert spread_steps(sampler, 99) == list(range(10))
