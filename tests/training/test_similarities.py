"""Similarities of stored embeddings and of the start model, and that the loss weights by them."""

import argparse

import numpy as np
import pytest
import torch

from formats.embeddings import write_embeddings
from formats.errors import UserError
from formats.samples import open_samples
from training import losses
from training.batching import open_stored_embeddings
from training.data import Batch
from training.flags import add_arguments
from training.hooks import RunLoss, create_model_and_transforms
from training.similarities import StartModel, StoredSimilarities


def batch(rows):
    count = len(rows)
    return Batch(
        torch.rand(count, 3, 32, 32),
        torch.randint(1, 20, (count, 12)),
        torch.tensor(rows),
        torch.zeros(count, dtype=torch.uint8),
        torch.arange(count)[:, None],
        [],
        0.0,
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
        manifest={"kind": "embeddings", "dataset_fingerprint": samples.fingerprint, "num_samples": len(samples)},
    )
    return folder


def test_rows_by_number(table, stored):
    embeddings = open_stored_embeddings(str(stored), open_samples(table))
    image, text = StoredSimilarities(embeddings)(batch([5, 3, 0]))
    expected = np.asarray(embeddings.image[4], np.float32)
    np.testing.assert_allclose(image[0].numpy(), expected / np.linalg.norm(expected), rtol=1e-6)
    assert (image[1] == 0).all() and (text[1] == 0).all() and text.shape == (3, 7)
    np.testing.assert_allclose(text[2].norm().item(), 1, rtol=1e-6)


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


def test_the_loss_weights_by_them(table, stored, monkeypatch):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    flags = ["--loss-fn", "sanw_debias", "--sanw-delta", "0", "--sanw-source", "embeddings", "--sanw-embeddings", str(stored)]
    args = parser.parse_args(flags)
    values = {
        "train_data": str(table),
        "csv_separator": ",",
        "csv_img_key": "filepath",
        "csv_caption_key": "title",
        "false_negative_mask": False,
    }
    values |= {
        "rank": 0,
        "world_size": 1,
        "local_loss": True,
        "gather_with_grad": True,
        "accum_freq": 1,
        "siglip": False,
        "margin_weight": 0,
    }
    vars(args).update(values)
    run = RunLoss(args)
    run.take(batch([5, 7, 0, 9]))
    x, y = torch.nn.functional.normalize(torch.randn(2, 4, 6), dim=2)
    loss = run(x, y, torch.tensor(10.0), output_dict=True)["contrastive_loss"]
    sources = StoredSimilarities(open_stored_embeddings(str(stored), open_samples(table)))(batch([5, 7, 0, 9]))
    expected = losses.SANWLoss(delta=0.0, max_weight=10.0)(x, y, torch.tensor(10.0), sources=sources)
    assert loss.item() == pytest.approx(expected.item())
    assert loss.item() != pytest.approx(losses.SANWLoss(delta=0.0, max_weight=10.0)(x, y, torch.tensor(10.0)).item(), rel=1e-4)


def test_a_loss_that_is_not_finite_names_its_rows():
    run = RunLoss.__new__(RunLoss)
    torch.nn.Module.__init__(run)
    run.loss, run.rows = losses.TrainingLoss(losses.ContrastiveLoss()), torch.tensor([5, 7, 0])
    run.loss.take(losses.Rows(torch.arange(3)[:, None], torch.zeros(3, dtype=torch.bool), torch.arange(3)), 0.0)
    features = torch.nn.functional.normalize(torch.randn(3, 6), dim=1)
    broken = features.clone()
    broken[1] = torch.nan
    with pytest.raises(UserError, match=r"rows \[7\]") as caught:
        run(features, broken, torch.tensor(10.0), output_dict=True)
    assert caught.value.code == 6
