"""What the model of embedding says."""

import numpy as np
import pytest

from hardpairs.data.embeddings import write_embeddings
from hardpairs.planning.embedding_cost import embedding_cost, embeddings_bytes
from tests.planning.machines import WITH_MODEL


def test_processes_share_the_encoding():
    alone, four = (embedding_cost(WITH_MODEL, 100_000, processes=count) for count in (1, 4))
    assert alone.stages["encode"] == pytest.approx(2000) == 4 * four.stages["encode"]
    assert alone.memory == four.memory and alone.network == 0


def test_images_are_read_where_their_size_is_known():
    with_images = embedding_cost(WITH_MODEL, 1000, image_bytes=10_000)
    assert with_images.read - embedding_cost(WITH_MODEL, 1000).read == 10_000_000


def test_more_rows_cost_more():
    few, many = (embedding_cost(WITH_MODEL, rows) for rows in (1000, 1001))
    assert few.seconds < many.seconds and few.kept < many.kept


def test_the_arrays_have_the_predicted_bytes(tmp_path):
    rows = np.arange(9)
    names = [str(row) for row in rows]
    write_embeddings(
        tmp_path,
        image=np.ones((9, 4), np.float32),
        text=np.ones((9, 6), np.float32),
        rows=rows,
        captions=names,
        keys=names,
        groups=rows,
        manifest={},
    )
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.npy"))
    assert size == embeddings_bytes(9, (4, 6))
