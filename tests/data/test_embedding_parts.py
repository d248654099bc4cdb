"""Parts of a folder of embeddings, on disk and behind a URL: in the order of their numbers, all there."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardpairs.core.errors import UserError
from hardpairs.core.remote import file_path
from hardpairs.data.embedding_parts import read_metadata, read_vectors
from tests.file_server import in_memory

ROWS = np.random.default_rng(0).normal(size=(24, 4))


@pytest.fixture
def folder(tmp_path):
    """Twelve parts of two rows."""
    for kind in ("img_emb", "metadata"):
        (tmp_path / kind).mkdir()
    for part in range(12):
        np.save(tmp_path / f"img_emb/img_emb_{part}.npy", ROWS[2 * part : 2 * part + 2])
        facts = {"row": [2 * part, 2 * part + 1], "key": ["a", "b"]}
        facts |= {"caption": ["c", "d"]} if part else {}
        pq.write_table(pa.table(facts), tmp_path / f"metadata/metadata_{part}.parquet")
    return tmp_path


def places(folder: Path):
    return folder, file_path(in_memory(folder))


def test_parts_are_in_order_and_share_columns(folder):
    for place in places(folder):
        assert np.array_equal(read_vectors(place, "img_emb", {})[:], ROWS)
        metadata = read_metadata(place, {})
        assert [*metadata] == ["row"] and metadata["row"].to_pylist() == [*range(24)]


@pytest.mark.parametrize(
    ("spoil", "says", "code"),
    [
        (lambda folder: (folder / "img_emb_7.npy").unlink(), "parts of img_emb are missing", 4),
        (lambda folder: np.save(folder / "img_emb_12.npy", np.eye(2)), "different widths", 4),
        (lambda folder: np.save(folder / "img_emb_old.npy", np.eye(2)), "is not a part", 3),
        (lambda folder: [p.unlink() for p in folder.iterdir()], "no img_emb/img_emb_", 3),
    ],
)
def test_parts_that_do_not_fit(folder, spoil, says, code):
    spoil(folder / "img_emb")
    for place in places(folder):
        with pytest.raises(UserError, match=says) as error:
            read_vectors(place, "img_emb", {})
        assert error.value.code == code and error.value.where.startswith(str(place))


def test_a_damaged_table_is_named(folder):
    path = folder / "metadata/metadata_3.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    for place in places(folder):
        with pytest.raises(UserError, match="not a readable parquet") as error:
            read_metadata(place, {})
        assert error.value.code == 3 and error.value.where == str(place / "metadata" / path.name)
        assert error.value.fix
