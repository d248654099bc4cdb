import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.embeddings import Embeddings
from hardpairs.data.one_space import check_one_space


def one_space(image, text):
    everything = np.arange(len(image))
    check_one_space(Embeddings(image, text, everything, len(image), {}), "emb")


def test_two_encoders_that_were_trained_apart_are_told():
    image, noise = np.random.default_rng(0).standard_normal((2, 200, 8)).astype(np.float32)
    one_space(image, image + 2 * noise)
    for text in (noise, -image, image[:1].repeat(200, 0), noise[:, :5]):
        with pytest.raises(UserError, match=r"trained apart|two encoders, 8 and 5") as caught:
            one_space(image, text)
        assert caught.value.code == 3
