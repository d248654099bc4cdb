"""Laws of every registered batch maker, built from its default options on small data."""

import dataclasses
import itertools

import numpy as np
import pytest

from hardpairs.batches import BATCHES, BatchContext, BatchSampler
from hardpairs.core.components import Options
from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from tests.batches.helpers import check_batches, epoch

NEEDED = {"hard_pairs", "embeddings"}
"""Options without which a batch maker has nothing to follow from."""
SMALL = {"clusters": 4, "size": 4, "class_neighbors": 1}


@pytest.fixture
def samples(table):
    """40 rows of 10 labels."""
    header, *lines = table.read_text().splitlines()
    lines = [f"{line},{number % 10}" for number, line in enumerate(lines)]
    table.write_text("\n".join([f"{header},group", *lines]))
    return open_samples(table)


def config_of(name, hard_pairs, embeddings):
    """Default options, with the files that the maker follows from and sizes for small data."""
    config = BATCHES.load(name).Config
    fields = {field.name for field in dataclasses.fields(config)}
    given = {key: value for key, value in SMALL.items() if key in fields}
    if "embeddings" in fields:
        given["embeddings"] = str(embeddings)
    elif "hard_pairs" in fields:
        given["hard_pairs"] = str(hard_pairs)
    return config(**given)


def samplers(name, config, samples, world_size, batch_size=8, **sizes):
    maker = BATCHES.load(name)
    return [
        maker.from_config(
            config,
            BatchContext(
                samples, batch_size // world_size, rank=rank, world_size=world_size, **sizes
            ),
        )
        for rank in range(world_size)
    ]


@pytest.mark.parametrize("name", list(BATCHES))
def test_a_declaration_is_what_the_class_says(name):
    declared, maker = BATCHES[name], BATCHES.load(name)
    assert issubclass(maker, BatchSampler) and issubclass(maker.Config, Options)
    assert maker.name == name and declared.summary.endswith(".")
    fields = {field.name: field for field in dataclasses.fields(maker.Config)}
    assert {option.field for option in declared.options} == fields.keys()
    for option in declared.options:
        field = fields[option.field]
        assert option.default == field.default and option.facts == dict(field.metadata)
        assert str(option.kind) == str(field.type) and option.facts["help"]


def test_makers_with_the_same_flag_have_the_same_default():
    options = sorted(
        (option for maker in BATCHES.values() for option in maker.options), key=lambda o: o.flag
    )
    for _, group in itertools.groupby(options, key=lambda option: option.flag):
        assert len({(option.field, option.kind, option.default) for option in group}) == 1


@pytest.mark.parametrize("name", list(BATCHES))
def test_laws(name, samples, hard_pairs, embeddings):
    """Every row once per epoch; ranks disjoint; the same for any number of ranks."""
    samples.rejected[3] = "rejected"
    config = config_of(name, hard_pairs, embeddings)
    one, two = (epoch(samplers(name, config, samples, world_size), 1) for world_size in (1, 2))
    check_batches(one, 8, np.array([3]))
    check_batches(two, 8, np.array([3]))
    for whole, joined in zip(one, two, strict=True):
        assert np.array_equal(whole[0], joined[0]) and np.array_equal(whole[1], joined[1])
    rows = np.concatenate([batch[0] for batch in one])
    assert set(rows.tolist()) == set(range(40)) - {3}
    again = epoch(samplers(name, config, samples, 1), 1)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(one, again, strict=True))
    (sampler,) = samplers(name, config, samples, 1)
    assert np.array_equal(sampler.plan(2, epoch=1).rows, one[2][0])  # any batch by its number
    other = epoch([sampler], 0)
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(one, other, strict=True))
    assert sampler.digest() == samplers(name, config, samples, 1)[0].digest()
    assert sampler.digest() != samplers(name, config, samples, 1, seed=1)[0].digest()


@pytest.mark.parametrize("name", list(BATCHES))
def test_what_a_maker_follows_from_must_be_given(name, samples):
    maker = BATCHES.load(name)
    fields = {field.name for field in dataclasses.fields(maker.Config)}
    if not fields & NEEDED:
        pytest.skip("it follows from the data alone")
    with pytest.raises(UserError, match="needs") as error:
        maker.from_config(maker.Config(), BatchContext(samples, 8))
    assert error.value.code == 2
