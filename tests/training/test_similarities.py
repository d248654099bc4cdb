"""Similarities of stored embeddings and of the start model, and that the loss weights by them."""

import argparse

import numpy as np
import pytest
import torch

from hardpairs import losses
from hardpairs.batches import BatchInfo, open_stored_embeddings
from hardpairs.core.errors import UserError
from hardpairs.data.embeddings import write_embeddings
from hardpairs.data.opening import open_samples
from hardpairs.training.config import defaults
from hardpairs.training.dataset import Batch
from hardpairs.training.hooks.build import create_loss, create_model_and_transforms
from hardpairs.training.hooks.flags import add_arguments
from hardpairs.training.similarities import StartModel, StoredFeatures


def batch(rows):
    count = len(rows)
    return Batch(
        torch.rand(count, 3, 32, 32),
        torch.randint(1, 20, (count, 12)),
        BatchInfo(
            rows=torch.tensor(rows),
            roles=torch.zeros(count, dtype=torch.uint8),
            targets=torch.tensor(rows),
            group_ids=torch.arange(count)[:, None],
        ),
    )


@pytest.fixture
def stored(table, tmp_path):
    """Embeddings of all rows of ``table`` but row 3."""
    samples, rng = open_samples(table), np.random.default_rng(0)
    rows = np.delete(np.arange(len(samples)), 3)
    folder = tmp_path / "embeddings"
    write_embeddings(
        folder,
        image=rng.standard_normal((len(rows), 5)).astype(np.float16),
        text=rng.standard_normal((len(rows), 7)).astype(np.float16),
        rows=rows,
        captions=[samples.caption(row) for row in rows],
        keys=[str(row) for row in rows],
        groups=rows,
        manifest={
            "kind": "embeddings",
            "dataset_fingerprint": samples.fingerprint,
            "num_samples": len(samples),
        },
    )
    return folder


def test_rows_by_number(table, stored):
    embeddings = open_stored_embeddings(str(stored), open_samples(table))
    image, text = StoredFeatures(embeddings)(batch([5, 3, 0]))
    expected = np.asarray(embeddings.image[4], np.float32)
    np.testing.assert_allclose(image[0].numpy(), expected / np.linalg.norm(expected), rtol=1e-6)
    assert (image[1] == 0).all() and (text[1] == 0).all() and text.shape == (3, 7)
    np.testing.assert_allclose(text[2].norm().item(), 1, rtol=1e-6)


@pytest.mark.parametrize("flag", ["--guided-mask", "--blend-targets"])
def test_a_run_refuses_them(table, stored, flag):
    with pytest.raises(UserError, match="two encoders"):
        run_loss(table, flag, str(stored))


def test_embeddings_of_other_data_are_refused(table, stored, tmp_path):
    (tmp_path / "other").mkdir()
    other = tmp_path / "other.csv"
    other.write_text("\n".join(table.read_text().splitlines()[:-1]))
    with pytest.raises(UserError) as caught:
        open_stored_embeddings(str(stored), open_samples(other))
    assert caught.value.code == 4


def test_the_start_model_looks_at_the_batch():
    model = create_model_and_transforms("hardpairs-test")[0]
    one = batch([0, 1])
    image, text = StartModel(model, "cpu")(one)
    model.eval()
    torch.testing.assert_close(image, model.encode_image(one.images, normalize=True).detach())
    torch.testing.assert_close(text, model.encode_text(one.texts, normalize=True).detach())
    assert not any(weight.requires_grad for weight in model.parameters())


def run_loss(table, *flags, **values):
    """The trainer's loss for a run on ``table`` with these flags."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(list(flags))
    csv = {
        "train_data": str(table),
        "csv_separator": ",",
        "csv_img_key": "filepath",
        "csv_caption_key": "title",
    }
    world = {
        "rank": 0,
        "world_size": 1,
        "local_loss": True,
        "gather_with_grad": True,
        "accum_freq": 1,
        "epochs": 1,
        "siglip": False,
    }
    where = {"logs": "none", "batching": "random", "model": "hardpairs-test"}
    vars(args).update({**defaults(), **{k: v for k, v in vars(args).items() if v is not None}})
    vars(args).update({**csv, **world, **where, "false_negative_mask": False, **values})
    return create_loss(args)


def test_the_loss_weights_by_them(table, stored):
    flags = [
        "--loss-fn",
        "sanw_debias",
        "--sanw-delta",
        "0",
        "--sanw-source",
        "embeddings",
        "--sanw-embeddings",
        str(stored),
    ]
    run = run_loss(table, *flags)
    run.take(batch([5, 7, 0, 9]))
    x, y = torch.nn.functional.normalize(torch.randn(2, 4, 6), dim=2)
    loss = run(x, y, torch.tensor(10.0), output_dict=True)["contrastive_loss"]
    sources = StoredFeatures(open_stored_embeddings(str(stored), open_samples(table)))(
        batch([5, 7, 0, 9])
    )
    expected = losses.SANWLoss(delta=0.0, max_weight=10.0)(
        x, y, torch.tensor(10.0), info=BatchInfo(similarity_features=sources)
    )
    assert loss.item() == pytest.approx(expected.item())
    assert loss.item() != pytest.approx(
        losses.SANWLoss(delta=0.0, max_weight=10.0)(x, y, torch.tensor(10.0)).item(), rel=1e-4
    )


def test_the_start_model_is_guide_and_target(table, checkpoint):
    """It looks at a batch once."""
    flags = ("--guided-mask", "initial", "--blend-targets", "initial")
    run = run_loss(table, *flags, pretrained=str(checkpoint), device="cpu")
    model = create_model_and_transforms("hardpairs-test", str(checkpoint))[0]
    one = batch([5, 7, 0, 9])
    run.take(one)
    (info,) = run._taken
    assert info.guide_features is info.start_features and info.similarity_features is None
    for ours, expected in zip(info.guide_features, StartModel(model, "cpu")(one), strict=True):
        torch.testing.assert_close(ours, expected)


def test_the_mask_takes_their_near_duplicates(table, stored):
    """Rows 5, 7, 0, 9 and 3, which has no stored embedding and is like no other."""
    run = run_loss(
        table,
        "--false-negative-embeddings",
        str(stored),
        "--false-negative-threshold",
        ".2",
        false_negative_mask=True,
    )
    one = batch([5, 7, 0, 9, 3])
    run.take(one)
    x, y = torch.nn.functional.normalize(torch.randn(2, 5, 6), dim=2)
    loss = run(x, y, torch.tensor(10.0), output_dict=True)["contrastive_loss"]
    rows = StoredFeatures(open_stored_embeddings(str(stored), open_samples(table)))(one)
    near = torch.stack([side @ side.T > 0.2 for side in rows]).any(0) & ~torch.eye(
        5, dtype=torch.bool
    )
    assert near.any() and not near[4].any()
    logits = (10 * x @ y.T).masked_fill(near, -torch.inf)
    labels = torch.arange(5)
    expected = (
        torch.nn.functional.cross_entropy(logits, labels)
        + torch.nn.functional.cross_entropy(logits.T, labels)
    ) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
