"""What a resumed run must have in common with the run of its checkpoint."""

from __future__ import annotations

import pytest

from hardpairs.core.errors import UserError
from hardpairs.training.config import TrainingConfig
from hardpairs.training.resume import (
    check_same_run,
    counts_in,
    first_step,
    run_facts,
    stored_facts,
    with_prefix,
)

VALUES = {"batch_size": 8, "world_size": 2, "accum_freq": 1, "seed": 0, "lr": 0.1}


def facts(data="abc", hard_pairs="def", **changed):
    values = {**VALUES, "use_hard": True, "batching": "hard-pairs", **changed}
    config = TrainingConfig.from_values(values)
    return run_facts(config, values, data=data, hard_pairs=hard_pairs)


def test_other_numbers_of_processes_are_the_same_run():
    check_same_run(facts(), facts(world_size=1, batch_size=16), None, "")
    check_same_run(facts(), facts(world_size=1, accum_freq=2), None, "")


@pytest.mark.parametrize(
    ("name", "changed", "code"),
    [
        ("data", {"data": "xyz"}, 4),
        ("hard_pairs", {"hard_pairs": "xyz"}, 4),
        ("batch_size", {"batch_size": 4}, 2),
        ("seed", {"seed": 1}, 2),
        ("lr", {"lr": 0.2}, 2),
        ("loss_fn", {"loss_fn": "siglip"}, 2),
        ("margin_weight", {"loss_fn": "helip", "margin_weight": 0.5}, 2),
        ("hard_topk", {"hard_topk": 7}, 2),
    ],
)
def test_another_one_is_refused_unless_it_is_meant(name, changed, code):
    before = facts(loss_fn="helip") if "margin_weight" in changed else facts()
    after = facts(**changed)
    with pytest.raises(UserError) as caught:
        check_same_run(before, after, None, "epoch_1.pt")
    assert caught.value.code == code
    assert str(before[name]) in caught.value.what and str(after[name]) in caught.value.what
    check_same_run(before, after, f"{name.replace('_', '-')},seed", "epoch_1.pt")


def test_an_unknown_name_is_refused():
    with pytest.raises(UserError, match="nothing: no such fact"):
        check_same_run(facts(), facts(), "nothing", "")


def test_files_may_be_moved():
    check_same_run(facts(hard_dict_dir="a.csv"), facts(hard_dict_dir="b/a.csv"), None, "")


def test_checkpoints_of_older_versions_say_less():
    assert stored_facts({}) == {} and counts_in({}) == {}
    assert stored_facts({"hardpairs": {"dataset_fingerprint": "abc"}}) == {"data": "abc"}
    check_same_run({}, facts(), None, "")


@pytest.mark.parametrize(("batch_size", "step"), [(8, 6), (4, 12), (16, 3), (10, 4)])
def test_a_state_of_another_batch_size_begins_after_as_many_rows(batch_size, step):
    stored, ours = {"batch_size": 8}, {"batch_size": batch_size}
    assert first_step({"step": 6}, stored, ours) == step


def test_names_of_weights():
    for state in ({"a": 1}, {"module.a": 1}):
        assert with_prefix(state, distributed=True) == {"module.a": 1}
        assert with_prefix(state, distributed=False) == {"a": 1}
