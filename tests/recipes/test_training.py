import numpy as np
import pytest
import torch

from hardpairs.recipes.features import Fold
from hardpairs.recipes.heads import Heads
from hardpairs.recipes.recipe import parse_setting, read_recipes
from hardpairs.recipes.training import Budget, measure, train


def naive(heads, features, rows_of_steps, rates):
    """Train with CLIP's loss, written out: the reference of a plain run."""
    parameters = list(heads.parameters())
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2)
    ids = torch.from_numpy(features.samples.positives)
    for rows, rate in zip(rows_of_steps, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        image, text, scale = heads(features.image[rows], features.text[rows])
        logits = scale * image @ text.T
        same = (ids[rows][:, None] == ids[rows][None]).any(-1)
        same.fill_diagonal_(False)
        logits = logits.masked_fill(same, -torch.inf)
        target = torch.arange(len(rows))
        loss = torch.nn.functional.cross_entropy(logits, target)
        loss = (loss + torch.nn.functional.cross_entropy(logits.T, target)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        heads.clamp_scale()
    return heads


def test_a_plain_run_is_clips_training_written_out(features):
    from hardpairs.batches.random_rows import RandomBatchSampler
    from hardpairs.batches.rows import RowSet

    fold, start = Fold.of(features, 0), Heads(12, 10, 8)
    budget = Budget(rows=16, steps=6, evaluations=1, rate=1e-2, seed=3)
    ours = train(start, features, parse_setting(""), fold.train, fold.val, budget)
    others = np.setdiff1d(np.arange(len(features.samples)), fold.train)
    sampler = RandomBatchSampler(len(features.samples), batch_size=16, seed=3, exclude=others)
    assert len(RowSet(len(features.samples), others)) == len(fold.train)
    cosine = [0.5 * (1 + np.cos(np.pi * (step - 1) / 5)) for step in range(1, 6)]
    rates = [1e-2, *(1e-2 * value for value in cosine)]
    reference = naive(Heads(12, 10, 8), features, [sampler.batch(step) for step in range(6)], rates)
    expected = measure(reference, features, fold.val)
    assert ours.curve[-1][1:] == (expected["mean_R@1"], expected["mean_MRR"])
    assert np.isin(sampler.batch(0), fold.train).all()


@pytest.mark.parametrize("flags", ["--memory-batches 2", "--memory-every 1", "--loss-fn global"])
def test_losses_that_keep_what_they_saw_train(features, flags):
    fold, budget = Fold.of(features, 0), Budget(rows=16, steps=6, evaluations=1, rate=1e-2, seed=3)
    runs = [
        train(Heads(12, 10, 8), features, parse_setting(line), fold.train, fold.val, budget).state
        for line in ("", flags, flags)
    ]
    plain, ours, again = (torch.cat([part.flatten() for part in run.values()]) for run in runs)
    assert ours.isfinite().all() and torch.equal(ours, again)
    assert not torch.allclose(plain, ours, atol=1e-4)


def test_patience_ends_a_run_with_the_best_heads(features):
    fold = Fold.of(features, 0)
    budget = Budget(rows=16, steps=400, evaluations=100, rate=3e-2, seed=0, patience=3)
    run = train(Heads(12, 10, 8), features, parse_setting(""), fold.train, fold.val, budget)
    values = [value for _, _, value in run.curve]
    assert run.metrics["mean_MRR"] == max(values)
    assert run.steps < 400 and values.index(max(values)) == len(values) - 4
    heads = Heads(12, 10, 8)
    heads.load_state_dict(run.state)
    assert measure(heads, features, fold.val) == run.metrics


def test_batches_of_a_fold_hold_its_training_rows_alone(features, monkeypatch):
    from hardpairs.recipes import training

    fold, seen = Fold.of(features, 1), []
    step = training._step
    monkeypatch.setattr(
        training, "_step", lambda *a: (seen.extend(a[3].info.rows.tolist()), step(*a))
    )
    budget = Budget(rows=16, steps=20, evaluations=1, rate=1e-3, seed=0)
    train(Heads(12, 10, 8), features, parse_setting(""), fold.train, fold.val, budget)
    assert set(seen) == set(fold.train.tolist())


@pytest.mark.parametrize("name", ["hardness", "guided", "blended", "several-positives"])
def test_recipes_of_negatives_and_targets_train(features, name):
    fold, budget = Fold.of(features, 0), Budget(rows=64, steps=2, evaluations=1, rate=1e-2, seed=0)
    settings = (parse_setting(""), *read_recipes([name])[-1].settings)
    plain, *others = (
        train(Heads(12, 10, 8), features, setting, fold.train, fold.val, budget).state
        for setting in settings
    )
    for state in others:
        assert all(value.isfinite().all() for value in state.values())
        assert any(not torch.equal(value, plain[name]) for name, value in state.items())
