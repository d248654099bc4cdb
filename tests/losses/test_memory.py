"""Cross-batch memory: a naive double loop over batch and past batches, masks, drift and state."""

import math
from dataclasses import replace

import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import LOSSES, ContrastiveLoss, SigmoidLoss, SimilarityWeights, memory
from hardpairs.losses.gather import World
from tests.losses.helpers import SCALE, features

BIAS = torch.tensor(-3.0, dtype=torch.float64)
WEIGHTS = {
    "none": None,
    "exp": SimilarityWeights("exp", delta=0.0),
    "row means of 1": SimilarityWeights("bandpass", m1=-0.2, floor=0.2),
}


def batch(number, first, groups=None):
    """Features of 6 rows from ``first`` on, and their info."""
    rows = torch.arange(first, first + 6)
    ids = rows if groups is None else torch.tensor(groups)
    return features(6, seed=number), BatchInfo(rows=rows, group_ids=ids[:, None])


PAST = [batch(1, 100), batch(2, 200, [1, 200, 2, 201, 202, 203]), batch(3, 3)]
PRESENT = batch(4, 0, [1, 0, 2, 3, 4, 5])
"""Rows 3, 4 and 5 are in the memory as older copies, and two of its rows are known positives."""


def known(info, other, i, j):
    """Whether row j of another batch is the same row as row i, or its known positive."""
    return bool(info.rows[i] == other.rows[j] or info.group_ids[i, 0] == other.group_ids[j, 0])


def columns(batches):
    """Return (batch number, row) of all columns of the present batch, then of the past ones."""
    return [(number, j) for number in range(len(batches)) for j in range(6)]


def naive_weights(batches, weights):
    """(6, columns) weights of the present rows' negatives, 1 for own pairs, 0 for masked ones."""
    (image, text), info = batches[0]
    result = torch.zeros(6, 6 * len(batches), dtype=torch.float64)
    for i in range(6):
        for column, (number, j) in enumerate(columns(batches)):
            (other_image, other_text), other = batches[number]
            if number == 0 and i == j:
                continue
            if not known(info, other, i, j):
                similarity = 0.5 * (image[i] @ other_image[j] + text[i] @ other_text[j])
                raw = 0.0 if weights is None else weights.log_raw(similarity.clone())
                result[i, column] = math.exp(raw)
        if weights is not None and weights.normalize:
            result[i] *= (result[i] > 0).sum() / result[i].sum()
        result[i, i] = 1
    return result


def softmax(batches, scale, weights):
    total = 0.0
    for side in range(2):
        queries = batches[0][0][side]
        logits = torch.cat([scale * queries @ one[0][1 - side].T for one in batches], dim=1)
        total = total + ((weights * logits.exp()).sum(1).log() - logits[:, :6].diagonal()).mean()
    return total / 2


def sigmoid(batches, scale, weights):
    (image, text), _ = batches[0]
    logits = scale * image @ text.T + BIAS
    total = -torch.nn.functional.logsigmoid(logits.diagonal()).sum()
    off = weights[:, :6] - torch.eye(6, dtype=torch.float64)
    total = total - (off * torch.nn.functional.logsigmoid(-logits)).sum()
    for number, (others, _) in enumerate(batches[1:], start=1):
        part = weights[:, 6 * number : 6 * number + 6]
        for queries, gallery in ((image, others[1]), (text, others[0])):
            logits = scale * queries @ gallery.T + BIAS
            total = total - (part * torch.nn.functional.logsigmoid(-logits)).sum()
    return total / 6


@pytest.mark.parametrize("block_rows", [None, 4])
@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize(("form", "naive"), [(ContrastiveLoss, softmax), (SigmoidLoss, sigmoid)])
def test_is_its_formula(form, naive, name, block_rows):
    """Of three past batches the last two are left in a memory of two."""
    weights = WEIGHTS[name]
    loss = form(weights=weights, block_rows=block_rows, memory_batches=2)
    bias = (BIAS,) if form is SigmoidLoss else ()
    for (image, text), info in PAST:
        loss(image, text, SCALE, *bias, info=info)
        loss.end_step()
    assert len(loss.memory) == 12
    results = []
    for is_naive in (True, False):
        (image, text), info = PRESENT
        inputs = [side.clone().requires_grad_() for side in (image, text, SCALE)]
        if is_naive:
            batches = [PRESENT, *PAST[1:]]
            fixed = naive_weights(batches, weights)
            value = naive([(inputs[:2], info), *PAST[1:]], inputs[2], fixed)
        else:
            value = loss(*inputs, *bias, info=info)
        value.backward()
        results.append([value.detach(), *(side.grad for side in inputs)])
    for expected, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("block_rows", [None, 4])
@pytest.mark.parametrize("form", [ContrastiveLoss, SigmoidLoss])
def test_matched_batches_are_those_with_the_moments_of_the_present_one(form, block_rows):
    loss = form(block_rows=block_rows, memory_batches=2, matches_memory=True)
    bias = (BIAS,) if form is SigmoidLoss else ()
    for (image, text), info in PAST:
        loss(image, text, SCALE, *bias, info=info)
        loss.end_step()
    matched = [naive_match([one[0][side] for one in PAST[1:]], PRESENT[0][side]) for side in (0, 1)]
    past = [((image, text), one[1]) for image, text, one in zip(*matched, PAST[1:], strict=True)]
    naive = softmax if form is ContrastiveLoss else sigmoid
    batches = [PRESENT, *past]
    expected = naive(batches, SCALE, naive_weights(batches, None))
    (image, text), info = PRESENT
    torch.testing.assert_close(loss(image, text, SCALE, *bias, info=info), expected)
    assert torch.equal(loss.memory.batches[0].image, PAST[1][0][0])  # what is kept stays as it was


def naive_match(past, present):
    """Past features, component by component with the mean and spread of the present ones."""
    joined = torch.cat(past)
    moved = [torch.zeros_like(one) for one in past]
    for d in range(present.shape[1]):
        mean = joined[:, d].sum() / len(joined)
        spread = ((joined[:, d] - mean) ** 2).mean().sqrt()
        present_mean = present[:, d].sum() / len(present)
        present_spread = ((present[:, d] - present_mean) ** 2).mean().sqrt()
        for old, new in zip(past, moved, strict=True):
            new[:, d] = (old[:, d] - mean) / spread * present_spread + present_mean
    return [one / one.norm(dim=1, keepdim=True) for one in moved]


def test_features_that_have_not_moved_stay_and_those_that_all_moved_come_back():
    present = torch.nn.functional.normalize(features(40, width=6)[0], dim=1)
    (same,) = memory.match_moments([present.roll(7, 0)], present)
    torch.testing.assert_close(same, present.roll(7, 0))
    moved = torch.nn.functional.normalize(present + present[0], dim=1)
    (back,) = memory.match_moments([moved], present)
    lost, left = ((moved - present).norm(dim=1), (back - present).norm(dim=1))
    assert left.mean() < lost.mean() / 3
    constant = torch.ones(40, 6, dtype=torch.float64) / 6**0.5
    assert memory.match_moments([constant], present)[0].isfinite().all()


def test_the_shift_is_the_distance_of_the_means():
    """All images turn from one unit vector to another; texts stay."""
    loss = ContrastiveLoss(memory_batches=2)
    first, second = (torch.eye(6, dtype=torch.float64)[i].expand(6, 6) for i in (0, 1))
    for number, image in enumerate((first, second)):
        loss(image, first, SCALE, info=BatchInfo(rows=torch.arange(6) + 6 * number))
        loss.end_step()
    assert loss.statistics()[0]["memory_shift"] == pytest.approx(2**0.5 / 2)
    assert "memory_shift" not in loss.statistics()[0]


def saved_numbers(block_rows, batches):
    """How many numbers a call with a full memory keeps for its backward pass."""
    loss, kept = ContrastiveLoss(block_rows=block_rows, memory_batches=batches), []
    for (image, text), info in PAST:
        loss(image, text, SCALE, info=info)
        loss.end_step()
    image, text = (side.clone().requires_grad_() for side in PRESENT[0])

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(image, text, SCALE, info=PRESENT[1])
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in kept}
    return sum(storages.values()) / 8


def test_in_blocks_no_logits_of_a_past_batch_are_kept():
    """Two more past batches keep two sums a row and batch; without blocks their 6 x 6 logits, in both directions."""
    assert saved_numbers(3, 3) - saved_numbers(3, 1) <= 2 * 2 * 6
    assert saved_numbers(None, 3) - saved_numbers(None, 1) >= 2 * 2 * 36


def test_hardness_is_that_of_past_negatives_too():
    (image, text), info = PRESENT
    loss = ContrastiveLoss(hardness=3.0, memory_batches=1)
    loss(*PAST[2][0], SCALE, info=PAST[2][1])
    loss.end_step()
    negatives = naive_weights([PRESENT, PAST[2]], None)
    expected = 0.0
    for side in range(2):
        queries = (image, text)[side]
        gallery = torch.cat([PRESENT[0][1 - side], PAST[2][0][1 - side]])
        cosines = queries @ gallery.T
        logits = (SCALE + 3) * cosines
        logits.diagonal().copy_(SCALE * cosines.diagonal())
        logs = (negatives * logits.exp()).sum(1).log() - logits.diagonal()
        expected += logs.mean().item() / 2
    assert loss(image, text, SCALE, info=info).item() == pytest.approx(expected, rel=1e-12)


def test_a_memory_that_knows_every_row_adds_nothing():
    """All columns are masked: the loss and its gradients are those without a memory, and finite."""
    image, text = (side.requires_grad_() for side in features(6))
    info = BatchInfo(rows=torch.arange(6), group_ids=torch.zeros(6, 1, dtype=torch.int64))
    loss = ContrastiveLoss(memory_batches=1)
    loss(image, text, SCALE, info=replace(info, rows=torch.arange(6) + 6))
    loss.end_step()
    value = loss(image, text, SCALE, info=info)
    value.backward()
    assert value.item() == 0 and image.grad.isfinite().all()


def test_a_step_counts_once_and_its_own_batch_not_at_all():
    """The calls of a step's micro-batches see the same memory; the step's rows come afterwards."""
    (image, text), info = PRESENT
    loss = ContrastiveLoss(memory_batches=2)
    alone = [loss(image, text, SCALE, info=info).item() for _ in range(3)]
    assert len(loss.memory) == 0 and len(set(alone)) == 1
    loss.end_step()
    assert len(loss.memory) == 6


def test_drift_of_rows_met_again():
    """Rows 3, 4 and 5 are met again: images turned by 90 degrees, texts the same."""
    loss = ContrastiveLoss(memory_batches=2)
    image = torch.eye(6, dtype=torch.float64)
    rows = torch.arange(6)
    for first, side in ((0, image), (3, image)):
        loss(side, image, SCALE, info=BatchInfo(rows=rows + first))
        loss.end_step()
    numbers, _ = loss.statistics()
    # Row 3 was the fourth unit vector and is the first, in both modalities.
    assert numbers["memory_rows"] == 12 and numbers["memory_drift"] == pytest.approx(1)
    assert "memory_drift" not in loss.statistics()[0]
    loss(image.roll(3, 0), image.roll(3, 0), SCALE, info=BatchInfo(rows=rows))
    loss.end_step()
    # Rows 3 to 5 as in the last batch; all as many as the first batch has left.
    assert loss.statistics()[0]["memory_drift"] == pytest.approx((3 * 0 + 6 * 1) / 9)


@pytest.mark.parametrize("weights", [None, WEIGHTS["exp"]])
def test_state_continues_where_it_was(weights):
    (image, text), info = PRESENT
    info = replace(info, duplicate_features=features(6, width=3))
    values, states = [], []
    for stop in (False, True):
        loss = ContrastiveLoss(weights=weights, memory_batches=2)
        for past, other in PAST:
            other = replace(other, duplicate_features=features(6, width=3, seed=7))
            loss(*past, SCALE, info=other)
            loss.end_step()
        if stop:
            states.append(loss.state())
            loss = ContrastiveLoss(weights=weights, memory_batches=2)
            loss.load_state(states[0], "cpu")
        values.append(loss(image, text, SCALE, info=info).item())
    assert values[0] == values[1] and len(loss.memory) == 12
    loss.forget()
    assert loss.state() == {"memory": []}
    plain = ContrastiveLoss(weights=weights)(image, text, SCALE, info=info)
    assert loss(image, text, SCALE, info=info) == plain < values[0]


@pytest.mark.parametrize(("form", "naive"), [(ContrastiveLoss, softmax), (SigmoidLoss, sigmoid)])
def test_all_rows_are_held_until_others_are_given(form, naive, monkeypatch):
    """They count as past batches do, in any blocks, and no step adds to them."""
    monkeypatch.setattr(memory, "ROWS_AT_ONCE", 5)
    bias = (BIAS,) if form is SigmoidLoss else ()
    (image, text), info = PRESENT
    sides = [torch.cat([batch[0][side] for batch in PAST[1:]]) for side in range(2)]
    loss = form(holds_all=True)
    loss.hold(memory.in_batches(*sides, BatchInfo.joined([batch[1] for batch in PAST[1:]])))
    batches = [PRESENT, *PAST[1:]]
    expected = naive(batches, SCALE, naive_weights(batches, None))
    for _ in range(2):
        found = loss(image, text, SCALE, *bias, info=info)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
        loss.end_step()
        loss.forget()
    assert len(loss.memory) == 12 and loss.state() == {}
    loss.hold([])
    alone = form()(image, text, SCALE, *bias, info=info)
    torch.testing.assert_close(loss(image, text, SCALE, *bias, info=info), alone)


def test_what_a_memory_needs():
    image, text = features(6)
    with pytest.raises(ValueError, match=r"info\.rows"):
        ContrastiveLoss(memory_batches=1)(image, text, SCALE)
    with pytest.raises(ValueError, match="gather_with_grad"):
        ContrastiveLoss(memory_batches=1, world=World(0, 2, True, False))
    assert ContrastiveLoss(world=World(0, 2, True, False)).state() == {}
    config = LOSSES.load("sanw_debias").Config
    with pytest.raises(ValueError, match="memory_batches"):
        config(sanw_variant="seed-v1", memory_batches=1)
    with pytest.raises(ValueError, match="guided_mask"):
        config(guided_mask="FOLDER", memory_batches=1)
    for other in ({"memory_batches": 1}, {"guided_mask": "F"}, {"false_negative_embeddings": "F"}):
        with pytest.raises(ValueError, match="memory_every"):
            LOSSES.load("clip_ce").Config(memory_every=1, **other)
    for name in ("sanw_debias", "global"):
        with pytest.raises(ValueError, match="memory_every"):
            LOSSES.load(name).Config(memory_every=1)
