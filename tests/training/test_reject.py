"""``--reject`` in training: a rejected row is in no batch, as target, partner, random row or reserve."""

import numpy as np
import pytest

from hardpairs.training.batching import BatchingConfig
from hardpairs.training.samples import open_training_samples
from hardpairs.training.upstream import patched


@pytest.mark.parametrize("batching", ["random", "hard-pairs"])
def test_a_rejected_row_is_in_no_batch(table, hard_pairs, tmp_path, batching):
    rejected = [0, 7, 39]
    (tmp_path / "rows.txt").write_text("\n".join(map(str, rejected)))
    more = ("--hard-dict-dir", str(hard_pairs)) if batching == "hard-pairs" else ()
    flags = [
        "--train-data",
        str(table),
        "--csv-separator",
        ",",
        "--batching",
        batching,
        *more,
        "--batch-size",
        "6",
        "--name",
        "",
    ]
    without = open_training_samples(vars(patched("params").parse_args(flags)))
    args = patched("params").parse_args([*flags, "--reject", str(tmp_path / "rows.txt")])
    samples = open_training_samples(vars(args))
    assert (
        sorted(samples.rejected) == rejected
        and not without.rejected
        and samples.fingerprint == without.fingerprint
    )
    sampler = BatchingConfig.from_values(vars(args)).sampler(samples)
    assert sampler.num_targets == 37
    for epoch in range(3):
        plans = [sampler.plan(number, epoch) for number in range(len(sampler))]
        rows = np.concatenate([np.concatenate([plan.rows, plan.spares]) for plan in plans])
        assert not np.isin(rows, rejected).any() and set(range(40)) - set(rejected) <= set(
            rows.tolist()
        )
