"""Laws of hard-pair batches, for many sizes, ragged tables and all ways to cut a global batch into ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardpairs.batches import BATCHES, HARD_PAIR, RANDOM, TARGET, HardPairBatchSampler
from hardpairs.batches.base import BatchContext
from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import write_table
from hardpairs.data.opening import open_samples
from tests.batches.helpers import all_ranks, check_batches, epoch, random_table, table_of

CHOICES = next(o for o in BATCHES["hard-pairs"].options if o.field == "hard_choice").facts[
    "choices"
]


def window_of(table, row, number, *, topk, skip, margin, schedule):
    """The ranks that a row's hard pairs can come from, read from the definition."""
    ranks = list(range(skip, int(table.lengths[row])))
    if margin is not None:
        scores = [float(score) for score in table.scores[row]]
        ranks = [rank for rank in ranks if scores[rank] >= scores[skip] - margin]
    deepest_start = max(len(ranks) - topk, 0)
    start = round(deepest_start * max(1 - number / schedule, 0)) if schedule else 0
    return set(table.indices[row, ranks[start : start + topk]].tolist())


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_laws(data):
    draw = data.draw
    world_size, per_target = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    size = draw(st.integers(1, 2)) * (1 + per_target)
    count = draw(st.sampled_from([n for n in (41, 64, 73, 97, 127) if n >= size * world_size + 8]))
    width = draw(st.integers(1, 12))
    options = {
        "hard_per_target": per_target,
        "hard_topk": draw(st.integers(1, 12)),
        "hard_skip": draw(st.integers(0, width - 1)),
        "hard_score_margin": draw(st.none() | st.floats(0.01, 0.6)),
        "hard_choice": draw(st.sampled_from(CHOICES)),
        "seed": draw(st.integers(0, 5)),
        "exclude": np.array(sorted(draw(st.sets(st.integers(0, 40), max_size=8))), np.int64),
    }
    deeper = options["hard_skip"] + options["hard_topk"] < width
    schedule = options["hard_schedule"] = (
        draw(st.integers(0, 3)) if deeper and options["hard_choice"] != "cycle" else 0
    )
    table, number = random_table(count, width, options["seed"]), draw(st.integers(0, 3))
    batches = epoch(
        all_ranks(
            HardPairBatchSampler, count, table, world_size=world_size, batch_size=size, **options
        ),
        number,
    )
    check_batches(batches, size * world_size, options["exclude"])
    allowed = np.setdiff1d(np.arange(count), options["exclude"])
    targets = np.concatenate([rows[roles == TARGET] for rows, roles, _ in batches])
    assert (np.sort(targets[: len(allowed)]) == allowed).all()  # every row is a target once...
    assert (
        targets[len(allowed) :] == targets[: len(targets) - len(allowed)]
    ).all()  # ...and the top-up comes from the order's start
    for rows, roles, _ in batches:
        assert (roles.reshape(-1, 1 + per_target)[:, 0] == TARGET).all()
        for group, group_roles in zip(
            rows.reshape(-1, 1 + per_target), roles.reshape(-1, 1 + per_target), strict=True
        ):
            window = window_of(
                table,
                group[0],
                number,
                topk=options["hard_topk"],
                skip=options["hard_skip"],
                margin=options["hard_score_margin"],
                schedule=schedule,
            )
            assert set(group[group_roles == HARD_PAIR].tolist()) <= window
            if (
                group_roles == RANDOM
            ).any():  # only when all its hard pairs are in the batch already, or excluded
                assert window <= set(rows.tolist()) | set(options["exclude"].tolist())


@given(
    seed=st.integers(0, 100),
    number=st.integers(0, 3),
    choice=st.sampled_from(CHOICES),
    world_size=st.integers(2, 8),
)
@settings(max_examples=40, deadline=None)
def test_global_batches_do_not_depend_on_the_world(seed, number, choice, world_size):
    table = random_table(61, 6, seed)
    one, many = (
        epoch(
            all_ranks(
                HardPairBatchSampler,
                61,
                table,
                world_size=w,
                batch_size=4 * world_size // w,
                seed=seed,
                hard_choice=choice,
            ),
            number,
        )
        for w in (1, world_size)
    )
    assert all(
        (a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(one, many, strict=True)
    )


def test_any_batch_by_its_number_and_the_same_again():
    table = random_table(100, 5)
    whole = list(HardPairBatchSampler(100, table, batch_size=10))
    assert (HardPairBatchSampler(100, table, batch_size=10).batch(7) == whole[7]).all()
    other_epoch = HardPairBatchSampler(100, table, batch_size=10)
    other_epoch.set_epoch(1)
    assert not (other_epoch.batch(7) == whole[7]).all()
    assert not (HardPairBatchSampler(100, table, batch_size=10, seed=1).batch(7) == whole[7]).all()
    with pytest.raises(IndexError):
        other_epoch.batch(len(other_epoch))


def test_accumulation_keeps_the_laws_over_the_step():
    sampler = HardPairBatchSampler(80, random_table(80, 5), batch_size=8, accumulate=3)
    assert len(sampler) % 3 == 0
    for step in range(len(sampler) // 3):
        plans = [sampler.plan(step * 3 + micro) for micro in range(3)]
        rows = np.concatenate([plan.rows for plan in plans] + [plan.spares for plan in plans])
        assert (
            len(np.unique(rows)) == len(rows) > 24
        )  # spares, too: two micro-batches can need one each


def drawn_ranks(choice, scores=None, epochs=2, **options):
    """How often each rank was drawn, where no two lists share a row and so no draw is in another's way."""
    count, width = 1000, 4
    rows = np.arange(count)
    indices = np.stack([(rows + 200 * (rank + 1)) % count for rank in range(width)], axis=1)
    table = table_of(
        indices,
        np.tile([0.8, 0.4, 0.2, 0.2], (count, 1)).astype(np.float32) if scores is None else scores,
    )
    sampler = HardPairBatchSampler(count, table, batch_size=2, hard_choice=choice, **options)
    groups = np.concatenate(
        [batch[0].reshape(-1, 2) for number in range(epochs) for batch in epoch([sampler], number)]
    )
    ranks = (groups[:, 1] - groups[:, 0]) % count // 200 - 1
    return np.bincount(ranks, minlength=width) / len(ranks)


@pytest.mark.parametrize(
    ("choice", "shares"),
    [
        ("uniform", [0.25] * 4),
        ("rank", [12 / 25, 6 / 25, 4 / 25, 3 / 25]),
        ("score", [0.5, 0.25, 0.125, 0.125]),
    ],
)
def test_hard_pairs_are_drawn_as_often_as_their_weight_says(choice, shares):
    assert (
        np.abs(drawn_ranks(choice) - shares).max() < 0.045
    )  # four standard deviations of 2000 draws


def test_first_ranks_can_be_skipped():
    assert drawn_ranks("uniform", hard_skip=1)[0] == 0 and drawn_ranks("score", hard_skip=3)[3] == 1


@pytest.mark.parametrize("per_target", [1, 2, 3])
def test_a_cycle_sees_each_hard_pair_once(per_target):
    """Lists of six that no other target shares: 6 / p epochs see all six, none twice."""
    indices = np.full((210, 6), -1)
    indices[:30] = np.arange(30, 210).reshape(30, 6)
    options = {
        "hard_per_target": per_target,
        "hard_choice": "cycle",
        "empty_rows": "skip",
        "batch_size": 1 + per_target,
    }
    sampler = HardPairBatchSampler(210, table_of(indices), **options)
    for start in (0, 6):
        numbers = range(start // per_target, (start + 6) // per_target)
        groups = np.concatenate(
            [
                batch[0].reshape(-1, 1 + per_target)
                for number in numbers
                for batch in epoch([sampler], number)
            ]
        )
        for target in range(30):
            assert sorted(groups[groups[:, 0] == target, 1:].ravel()) == indices[target].tolist()
    first = np.concatenate(
        [batch[0].reshape(-1, 1 + per_target)[:, 1] for batch in epoch([sampler], 0)]
    )
    assert len(set((first - 30) % 6)) == 6  # each list in an order of its own


def test_a_schedule_goes_from_the_deepest_ranks_to_the_first():
    means = []
    for number in range(6):
        sampler = HardPairBatchSampler(
            400,
            table_of((np.arange(400)[:, None] + np.arange(1, 41)) % 400),
            batch_size=2,
            hard_topk=10,
            hard_schedule=4,
        )
        groups = np.concatenate([batch[0].reshape(-1, 2) for batch in epoch([sampler], number)])
        ranks = (groups[:, 1] - groups[:, 0]) % 400 - 1
        assert (ranks.min(), ranks.max()) == tuple(
            np.array([0, 9]) + max(30 - number * 30 / 4, 0).__round__()
        )
        means.append(ranks.mean())
    assert means[0] > means[1] > means[2] > means[3] > means[4] and abs(means[4] - means[5]) < 1


def test_empty_rows_are_skipped_on_request_and_excluded_rows_are_nowhere():
    table, exclude = random_table(60, 4), np.array([1, 2, 3])
    sampler = HardPairBatchSampler(60, table, batch_size=6, empty_rows="skip", exclude=exclude)
    batches = epoch([sampler])
    check_batches(batches, 6, exclude)
    targets = np.concatenate([rows[roles == TARGET] for rows, roles, _ in batches])
    assert set(targets) == {
        row for row in range(60) if row not in exclude and table.lengths[row] > 0
    }


def test_hard_pairs_that_no_row_has_are_refused(table, tmp_path):
    """They would be random batches under another name."""
    samples = open_samples(table)
    indices, manifest = np.full((40, 3), -1), {"dataset_fingerprint": samples.fingerprint}
    write_table(tmp_path / "none", indices, np.zeros((40, 3), np.float32), manifest)
    indices[7:9, 0] = [8, 7]
    write_table(tmp_path / "few", indices, np.zeros((40, 3), np.float32), manifest)
    context = BatchContext(samples, 4)

    def make(folder, **options):
        config = HardPairBatchSampler.Config(hard_pairs=str(tmp_path / folder), **options)
        return HardPairBatchSampler.from_config(config, context)

    for options in ({}, {"empty_rows": "skip"}):
        with pytest.raises(UserError, match="no row has a hard pair") as error:
            make("none", **options)
        assert error.value.code == 3 and "random batches" in error.value.fix
    with pytest.raises(UserError, match="no usable row has a hard pair after its first 1") as error:
        make("few", hard_skip=1)
    assert error.value.code == 2
    assert make("few").with_hard_pairs == make("few", empty_rows="skip").num_targets == 2


def test_too_few_targets_for_any_batch():
    table = table_of(np.where(np.arange(40)[:, None] == 7, 8, -1))
    with pytest.raises(UserError, match="1 of them targets") as error:
        HardPairBatchSampler(40, table, batch_size=2, world_size=4, empty_rows="skip")
    assert error.value.fix == "more data, or fewer processes"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 7}, "`batch_size` 6 or 8"),
        (
            {"batch_size": 20, "world_size": 4},
            "30 usable rows are fewer than one global batch of 80",
        ),
        ({"batch_size": 2, "hard_skip": 3}, "leaves nothing of lists of 3"),
        ({"batch_size": 2, "hard_schedule": 2}, "the lists have 3"),
        (
            {"batch_size": 2, "hard_schedule": 2, "hard_topk": 1, "hard_choice": "cycle"},
            "one of the two",
        ),
    ],
)
def test_sizes_that_do_not_fit(options, says):
    with pytest.raises(UserError, match=says) as error:
        HardPairBatchSampler(30, random_table(30, 3), **options)
    assert error.value.code == 2


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("hard_topk", 0, "at least 1"),
        ("hard_skip", -1, "at least 0"),
        ("hard_score_margin", 0, "above 0"),
        ("hard_choice", "x", "one of"),
    ],
)
def test_options_out_of_range(option, value, says):
    with pytest.raises(ValueError, match=f"`{option}` must be {says}"):
        HardPairBatchSampler(30, random_table(30, 3), batch_size=2, **{option: value})
