"""Made rows have neighbors, and are the same for one seed."""

import numpy as np

from hardpairs.planning.made_rows import themed_rows


def test_rows_of_one_topic_are_alike():
    image, text = themed_rows(400, (32, 48))
    assert image.shape == (400, 32) and text.shape == (400, 48) and image.dtype == np.float32
    assert (themed_rows(400, (32, 48))[1] == text).all()
    assert not (themed_rows(400, (32, 48), seed=1)[0] == image).any()
    unit = image / np.linalg.norm(image, axis=1, keepdims=True)
    similar = np.sort(unit @ unit.T, axis=1)
    assert similar[:, -11].mean() > similar.mean() + 0.4
