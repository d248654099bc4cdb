"""Images and captions apart: once each, in order, unreadable ones by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hardpairs.core.errors import UserError
from hardpairs.data.images import UnreadableImage
from hardpairs.data.opening import open_samples
from hardpairs.data.samples import Samples
from hardpairs.embedding.distinct import embed_distinct, encode_images, encode_texts
from hardpairs.embedding.embed import embed
from hardpairs.models.encoders.base import TextEncoder
from tests.embedding.colors import COLORS, Counted
from tests.helpers import picture


class Images:
    """Plain colors; number 1 cannot be read."""

    def __init__(self, unreadable: tuple[int, ...] = (1,)) -> None:
        self.unreadable = unreadable

    def __len__(self) -> int:
        return 5

    def image(self, i: int) -> Image.Image:
        if i in self.unreadable:
            raise UnreadableImage("truncated_image")
        return Image.new("RGB", (4, 4), list(COLORS.values())[i % 3])


def test_images_in_order_with_reasons() -> None:
    model = Counted()
    found = encode_images(Images(), model.encoders.image, batch_size=2, workers=0)
    assert found.unreadable == {1: "truncated_image"} and model.images == 4
    expected = np.eye(3)[[0, 0, 2, 0, 1]]
    expected[1] = 0
    assert np.allclose(found.vectors, expected)


def test_no_readable_image() -> None:
    found = encode_images(Images(tuple(range(5))), Counted().encoders.image, workers=0)
    assert found.vectors.shape[0] == 5 and len(found.unreadable) == 5


def test_texts_are_unit_rows_in_order() -> None:
    model = Counted()
    texts = ["red", "green", "blue", "red green"]
    rows = encode_texts(texts, model.encoders.text, batch_size=3)
    assert model.texts == texts and np.allclose(np.linalg.norm(rows, axis=1), 1)
    assert rows.argmax(axis=1).tolist()[:3] == [0, 1, 2] and rows[3, 0] == rows[3, 1]


def write_pairs(folder: Path) -> Samples:
    """Three images with two captions each; one is no image, and one row has no caption."""
    lines = ["filepath,title"]
    for i in (2, 0, 2, 1, 0, 1):
        (folder / f"{i}.jpg").write_bytes(picture(i) if i != 1 else b"")
        lines.append(f"{folder}/{i}.jpg,{'red' if i else 'green'} {len(lines) % 2}")
    (folder / "pairs.csv").write_text("\n".join([*lines, f"{folder}/0.jpg,"]) + "\n")
    return open_samples(folder / "pairs.csv")


def test_rows_are_those_of_embed_with_each_image_and_caption_once(tmp_path: Path) -> None:
    samples = write_pairs(tmp_path)
    model = Counted()
    found = embed_distinct(samples, model.encoders, workers=0)
    assert model.images == 2 and sorted(model.texts) == sorted(set(model.texts))
    expected = embed(samples, Counted().encoders, workers=0)
    assert found.rows.tolist() == expected.rows.tolist() == [0, 1, 2, 4]
    assert found.rejected == expected.rejected
    assert found.rejected == {3: "empty_image", 5: "empty_image", 6: "empty_caption"}
    assert np.allclose(found.image, expected.image) and np.allclose(found.text, expected.text)


def test_no_usable_row(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(b"")
    (tmp_path / "pairs.csv").write_text(f"filepath,title\n{tmp_path}/0.jpg,red\n,red\n")
    with pytest.raises(UserError, match="no pair could be embedded") as error:
        embed_distinct(open_samples(tmp_path / "pairs.csv"), Counted().encoders, workers=0)
    assert error.value.code == 3


def test_embeddings_that_are_not_finite_are_refused() -> None:
    encoder = TextEncoder(list, lambda texts: torch.full((len(texts), 2), torch.nan), {})
    with pytest.raises(UserError) as error:
        encode_texts(["a"], encoder)
    assert error.value.code == 6
