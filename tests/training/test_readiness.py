import itertools
import json

import numpy as np
import pytest

from hardpairs.batches.sources import open_stored_embeddings
from hardpairs.data.embeddings import write_embeddings
from hardpairs.data.opening import open_samples
from hardpairs.mining.dataset import mine_dataset, write_mined
from hardpairs.mining.options import MiningOptions
from hardpairs.training.readiness import Readiness, chance_of_no_harder, readiness
from tests.recipes.conftest import make_pairs


def test_chance_is_the_share_of_all_draws():
    for above, drawn in itertools.product(range(7), range(7)):
        draws = list(itertools.combinations(range(6), drawn))
        share = np.mean([not any(item < above for item in draw) for draw in draws])
        found = chance_of_no_harder(np.array([above]), 6, drawn)[0]
        assert found == pytest.approx(share), (above, drawn)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Pairs in one space, where three of the captions are nearer to another image."""
    folder = tmp_path_factory.mktemp("ready")
    csv, _ = make_pairs(folder, count=40)
    samples = open_samples(csv)
    rng = np.random.default_rng(1)
    image = rng.normal(size=(40, 64)).astype(np.float32)
    text = image.copy()
    text[[3, 5, 7]] = image[[13, 15, 17]]
    write_embeddings(
        folder / "one",
        image=image,
        text=text,
        rows=np.arange(40),
        captions=list(samples.captions),
        keys=list(samples.keys),
        groups=samples.groups,
        images=samples.images,
        manifest={"kind": "embeddings", "dataset_fingerprint": samples.fingerprint},
    )
    return csv, folder / "one", open_stored_embeddings(str(folder / "one"), samples)


def test_solved_pairs_are_counted(model):
    facts = readiness(model[2], 40)
    # The images 3, 5, 7 lose to nothing of their own; ties with 13, 15, 17 count against both.
    assert facts.solved == pytest.approx(facts.solved_in_batch)
    assert 0.8 < facts.solved < 1
    assert readiness(model[2], 2).solved_in_batch > facts.solved
    assert facts.meets_hardest == 1.0 and facts.look_alikes is None


def test_a_random_part_expects_what_all_rows_do(model):
    """The mean over many parts is the share among all rows: no part of it is biased."""
    shares = [readiness(model[2], 6, most_rows=20, seed=seed) for seed in range(150)]
    assert {facts.solved for facts in shares} == {None}
    mean = np.mean([facts.solved_in_batch for facts in shares])
    assert mean == pytest.approx(readiness(model[2], 6).solved_in_batch, abs=0.01)


def test_hard_pairs_that_look_alike_are_counted(model, tmp_path):
    options = MiningOptions(top_k=1, duplicate_threshold=1.0, method="text")
    mined = mine_dataset(model[2], options)
    table = write_mined(tmp_path, "x", mined, model[2], options)
    listed = table.lengths > 0
    text = np.asarray(model[2].text)
    text = text / np.linalg.norm(text, axis=1, keepdims=True)
    same = [(text[row] @ text[table.indices[row, 0]]) > 0.95 for row in np.flatnonzero(listed)]
    assert readiness(model[2], 8, table=table).look_alikes == pytest.approx(np.mean(same))


@pytest.mark.parametrize(
    "values, rising", [([1, 2, 3, 4], True), ([1, 4, 3, 2], False), ([1], None)]
)
def test_a_base_that_still_rises_is_seen(model, tmp_path, values, rising):
    (tmp_path / "checkpoints").mkdir()
    lines = [json.dumps({"epoch": i, "mean_R@1": value}) for i, value in enumerate(values, 1)]
    (tmp_path / "checkpoints/results.jsonl").write_text("\n".join(lines))
    assert readiness(model[2], 8, run=tmp_path).still_rising is rising


def test_two_spaces_are_not_compared(tmp_path):
    csv, embedded = make_pairs(tmp_path, count=20)
    samples = open_samples(csv)
    facts = readiness(open_stored_embeddings(str(embedded), samples), 16)
    assert facts.solved is None and facts.solved_in_batch is None


@pytest.mark.parametrize(
    "facts, word",
    [
        (Readiness(1000, 16, 0.5, 0.2, 0.1, 0.6, True), "longer"),
        (Readiness(1000, 16, 0.5, 0.2, 0.1, 0.6, False), "--duplicate-threshold"),
        (Readiness(1000, 16, 0.99, 0.95, 0.1, 0.0, None), "more data"),
        (Readiness(1000, 16, 0.5, 0.2, 0.1, None, None), "Raise the batch"),
        (Readiness(1000, 500, 0.5, 0.2, 0.1, None, None), "Compare the recipes"),
    ],
)
def test_advice_follows_from_the_facts(facts, word):
    assert word in facts.advice()
