"""Parts that become the files of the folder, once or twice."""

from __future__ import annotations

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.data.unreadable import UnreadableImages
from hardpairs.embedding.joining import join_parts
from hardpairs.embedding.parts import Parts
from hardpairs.embedding.stream import encode_batches
from tests.embedding.colors import simple_encoders


@pytest.fixture
def made(table, tmp_path):
    """A data set, and its parts."""
    samples, parts = open_samples(table), Parts(tmp_path / "out", {}, 40, 25, 25)
    parts.claim()
    batches = [parts.rows(number) for number in range(2)]
    encoded = encode_batches(samples, simple_encoders(), batches, workers=0, device="cpu")
    for number, part in enumerate(encoded):
        parts.save(number, part)
    return samples, parts


def join(made):
    samples, parts = made
    join_parts(samples, parts, UnreadableImages(samples), {"kind": "embeddings"})


def files(folder):
    return {
        path.name: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != ".unfinished"
    }


def test_joining_twice_changes_nothing(made):
    join(made)
    first = files(made[1].out)
    assert sorted(first) == [
        *("img_emb_0.npy", "manifest.json", "metadata_0.parquet", "text_emb_0.npy")
    ]
    join(made)
    assert files(made[1].out) == first


def test_nothing_is_written_where_a_part_is_gone(made):
    """Another process has joined all, and removes the parts."""
    join(made)
    first, (_, parts) = files(made[1].out), made
    parts.folder.joinpath("part_00000001.npz").unlink()
    with pytest.raises(UserError, match="are not there") as error:
        join(made)
    assert error.value.code == 4 and files(parts.out) == first


def test_the_parts_of_another_run_are_left_alone(made):
    other = Parts(made[1].out, {"seed": 1}, 40, 25, 25)
    with pytest.raises(UserError, match="of another kind: seed differs"):
        join((made[0], other))
    assert not files(other.out)
