"""Features of a model in training are those of an encoder."""

import contextlib

import torch

from hardpairs.data.opening import open_samples
from hardpairs.embedding.embed import embed
from hardpairs.models.encoders import from_encoder
from hardpairs.models.load import load_encoder
from hardpairs.training.measuring import Inference, image_features, pair_features
from hardpairs.training.validation_data import PairDataset, ValidationBatches


def test_features_are_the_encoders(table, checkpoint):
    (table.parent / "images/7.jpg").write_bytes(b"torn")
    samples, encoder = open_samples(table), load_encoder("hardpairs-test", str(checkpoint))
    pairs = PairDataset(samples, encoder.transform, encoder.tokenizer)
    batches, how = ValidationBatches(pairs, 8, 0), Inference("cpu", None, contextlib.nullcontext)
    image, text = pair_features(encoder.model, batches, how)
    expected = embed(samples, from_encoder(encoder, "cpu"), batch_size=8, workers=0, device="cpu")
    assert batches.rows == expected.rows.tolist() == [row for row in range(40) if row != 7]
    torch.testing.assert_close(image, torch.from_numpy(expected.image))
    torch.testing.assert_close(text, torch.from_numpy(expected.text))
    assert torch.equal(image_features(encoder.model, batches, how), image)
