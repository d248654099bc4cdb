"""Embeddings that are kept for plots."""

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.evaluating.plot_embeddings import (
    CAPTIONS,
    choose_embeddings,
    read_plot_embeddings,
    write_plot_embeddings,
)
from tests.photos.runs import embedded, write_photos


def test_kept_rows_belong_together(tmp_path):
    data = write_photos(
        tmp_path, [[f"thing {i}", f"thing {i}", f"object {i}", f"item {i}"] for i in range(40)]
    )
    samples = open_samples(data)
    rows = embedded(samples, noise=0.1)
    found = choose_embeddings(samples, rows)
    assert len(found["image_rows"]) == 30 == len(set(samples.groups[found["image_rows"]]))
    assert len(found["text_rows"]) == 30 * CAPTIONS  # different captions: "thing" once
    assert (
        samples.groups[found["text_rows"]]
        == samples.groups[found["image_rows"]][found["text_image"]]
    ).all()
    assert np.array_equal(found["text"], rows.text[found["text_rows"]])
    write_plot_embeddings(tmp_path, found)
    assert all(
        np.array_equal(found[name], values)
        for name, values in read_plot_embeddings(tmp_path).items()
    )
    (tmp_path / "drawn.npz").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"drawn\.npz") as error:
        read_plot_embeddings(tmp_path)
    assert error.value.code == 3
