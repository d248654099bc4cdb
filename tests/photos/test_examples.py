"""Queries that the page offers."""

import numpy as np
import pytest

from hardpairs.models.encoders import open_encoders
from hardpairs.photos.examples import _clearness, offered
from hardpairs.photos.index import Index
from tests.photos.conftest import MODEL


@pytest.fixture
def encoders(checkpoint):
    """A model that knows the words picture and number, and the numbers to 39."""
    return open_encoders(model=MODEL, pretrained=str(checkpoint))


def test_captions_in_words_that_the_model_knows(photos, make_index, encoders, tmp_path):
    for i in range(8):
        (photos / f"winter/{i + 6:02d}.txt").write_text(f"picture number {i}")
    (photos / "winter/06.txt").write_text("a dog in the snow")
    (photos / "winter/07.txt").write_text("picture number " * 20)
    make_index()
    texts = offered(Index.open(tmp_path / "index"), encoders)
    assert len(texts) == 4 and set(texts) == {f"picture number {i}" for i in range(2, 6)}


def test_without_captions_words_of_the_vocabulary(make_index, encoders, tmp_path):
    make_index()
    assert set(offered(Index.open(tmp_path / "index"), encoders)) == {"picture", "number"}


def test_the_clearest_answer_comes_first():
    """One photo far above the others, against as much above as below."""
    assert _clearness(np.array([0.1, 0.1, 0.0, 0.9])) > _clearness(np.array([0.1, 0.1, 0.0, 0.2]))
    assert _clearness(np.zeros(3)) == 0
