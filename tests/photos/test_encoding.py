"""Photos and texts to unit vectors; pixels only for what has no vector yet."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from hardpairs.core.errors import UserError
from hardpairs.models.encoders import Encoders, ImageEncoder, TextEncoder
from hardpairs.photos.encoding import encode_pixels, encode_texts, load_batches
from hardpairs.photos.scan import scan
from tests.helpers import picture


def encoders(scale: float = 3.0) -> Encoders:
    """Return encoders of the mean color and of lengths of texts."""

    def color(image) -> torch.Tensor:
        return torch.tensor(np.asarray(image), dtype=torch.float32).permute(2, 0, 1)

    def length(texts: list[str]) -> torch.Tensor:
        return torch.tensor([[float(len(text)), 1.0] for text in texts])

    image = ImageEncoder(color, lambda pixels: scale * pixels.mean(dim=(2, 3)), {})
    return Encoders(image, TextEncoder(length, lambda rows: scale * rows, {}), True)


def test_each_photo_is_decoded_known_or_unreadable(photos):
    files = scan([str(photos)]).files[:6]
    (photos / "summer/01.jpg").write_bytes(b"<html>")
    (photos / "summer/04.jpg").unlink()
    known, captions = {hashlib.sha256(picture(2)).digest()}, {(files[0].path, ""): "a hill"}
    first, second = load_batches(files, captions, known, encoders().image, batch_size=3, workers=0)
    assert [row.file for row in first.decoded] == [files[0]] and first.decoded[0].note == "a hill"
    assert first.decoded[0].digest == hashlib.sha256(picture(0)).digest()
    assert [row.file for row in first.cached] == [files[2]]
    assert [(row.file, row.note) for row in first.unreadable] == [(files[1], "not_an_image")]
    assert [row.note for row in second.unreadable] == ["missing_file"]
    assert first.pixels.shape == (1, 3, 32, 32) and second.pixels.shape == (2, 3, 32, 32)


def test_vectors_have_unit_length():
    pixels = torch.stack([torch.full((3, 3, 2), 5.0), torch.eye(3)[:, :, None].expand(3, 3, 2)])
    expected = np.full((2, 3), 3**-0.5)
    np.testing.assert_allclose(encode_pixels(encoders(), pixels, "cpu"), expected, rtol=1e-6)
    texts = encode_texts(encoders(), ["", "abc"])
    np.testing.assert_allclose(texts, [[0, 1], [0.9486833, 0.3162278]], rtol=1e-6)


def test_numbers_that_are_not_finite_are_refused():
    for encode in (
        lambda: encode_pixels(encoders(np.nan), torch.ones(1, 3, 2, 2), "cpu"),
        lambda: encode_texts(encoders(np.inf), ["a"]),
    ):
        with pytest.raises(UserError, match="not finite") as error:
            encode()
        assert error.value.code == 6
