"""What a run's log says before it: facts of hard pairs and embeddings, advice, measured gains."""

from __future__ import annotations

import numpy as np
import pytest

from hardpairs.batches.sources import open_stored_embeddings, open_table
from hardpairs.data.opening import open_samples
from hardpairs.mining.dataset import mine_dataset, write_mined
from hardpairs.mining.options import MiningOptions
from hardpairs.training.advice import before_training, recipe_of
from hardpairs.training.config import TrainingConfig, defaults
from hardpairs.training.measured_gains import GAINS
from hardpairs.training.readiness import readiness
from tests.recipes.conftest import make_pairs


def config(**values):
    return TrainingConfig.from_values({**defaults(), "batching": "random", **values})


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    """Samples, their embeddings in one space of 12 numbers, its folder, and hard pairs."""
    folder = tmp_path_factory.mktemp("advice")
    csv, embedded = make_pairs(folder, count=60, widths=(12, 12))
    samples = open_samples(csv)
    embeddings = open_stored_embeddings(str(embedded), samples)
    options = MiningOptions(top_k=5)
    write_mined(folder, "x", mine_dataset(embeddings, options), embeddings, options)
    table = open_table(str(folder / "x_hard_sample.csv"), samples)
    return samples, embeddings, str(embedded), table


def test_a_run_without_either_says_nothing(mined):
    assert before_training(config(), mined[0], None, 8) == []


def test_hard_pairs_alone_tell_the_batch_and_likely_false_negatives(mined):
    samples, _, _, table = mined
    facts, advice, gains = before_training(config(batching="hard-pairs"), samples, table, 6)
    first = np.arange(table.scores.shape[1]) < table.lengths[:, None]
    alike = (np.asarray(table.scores)[first] > 0.95**2).mean()
    assert facts.startswith("60 pairs in batches of 6: ") and "solved" not in facts
    assert f"{alike:.0%} of the hardest pairs look or read alike" in facts
    assert advice.startswith("Advice: ") and "--no-advice" in advice
    low, high = GAINS["hard-pairs"]["tuxpaint"][1:]
    assert f"[{low:+.2f}, {high:+.2f}]" in gains and "heads and small sets" in gains


def test_stored_embeddings_tell_what_is_solved(mined):
    samples, embeddings, folder, table = mined
    facts = before_training(
        config(batching="topical", batching_embeddings=folder), samples, None, 6
    )
    share = readiness(embeddings, 6).solved_in_batch
    assert f"{share:.0%} of the pairs are solved among its rows, by {folder}" in facts[0]
    of_loss = config(batching="hard-pairs", guided_mask=folder)
    assert f"by {folder}; " in before_training(of_loss, samples, table, 6)[0]


@pytest.mark.parametrize(
    ("values", "recipe"),
    [
        ({"batching": "hard-pairs"}, "hard-pairs"),
        ({"batching": "hard-pairs", "memory_batches": 4}, "hard-pairs-memory"),
        ({"batching": "hard-pairs", "loss_fn": "sanw_debias"}, None),
        ({"batching": "neighbourhood"}, "neighborhood"),
        ({"memory_batches": 4}, "memory"),
        ({"memory_batches": 4, "memory_match": True}, "memory-matched"),
        ({"batching": "hard-pairs", "memory_batches": 4, "memory_match": True}, None),
        ({"batching": "topical", "loss_fn": "global"}, None),
        ({"batching": "hard-pairs", "loss_fn": "siglip"}, None),
        ({"batching": "hard-pairs", "margin_weight": 0.1}, None),
        ({"hardness_weight": 9.0}, "hardness"),
        ({"loss_fn": "global"}, "global"),
        ({"loss_fn": "sanw_debias"}, "sanw"),
        ({}, None),
    ],
)
def test_gains_are_those_of_the_recipe_that_was_measured(values, recipe):
    assert recipe_of(config(**values)) == recipe and (recipe is None or GAINS[recipe])
