"""Finished parts of an embedding run."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.embedding.parts import Parts
from hardpairs.embedding.stream import encode_batches
from tests.core.test_temporary import killed_writer
from tests.embedding.colors import simple_encoders


def test_parts_are_fixed_ranges_of_rows(table, tmp_path):
    parts = Parts(tmp_path, {"seed": 0}, count=10, size=4, batch_size=2)
    assert [list(parts.rows(number)) for number in range(len(parts))][1:] == [[4, 5, 6, 7], [8, 9]]
    parts.claim()
    (tmp_path / "images/5.jpg").write_bytes(b"")
    samples = open_samples(table)
    (part,) = encode_batches(samples, simple_encoders(), [parts.rows(1)], workers=0, device="cpu")
    parts.save(1, part)
    again = Parts(tmp_path, {"seed": 0}, count=10, size=4, batch_size=2)
    again.claim()
    assert again.unfinished() == [0, 2]
    loaded = again.load(1, "rows", "image", "rejected")
    assert loaded["rows"].tolist() == [4, 6, 7] and loaded["rejected"] == {5: "empty_image"}
    assert np.array_equal(loaded["image"], part.image)
    for other in (Parts(tmp_path, {"seed": 0}, 10, 4, 3), Parts(tmp_path, {"seed": 1}, 10, 4, 2)):
        with pytest.raises(UserError, match="another kind") as error:
            other.claim()
        assert error.value.code == 4
    again.remove()
    assert not (tmp_path / ".unfinished").exists()


def test_a_part_comes_too_late_where_the_work_was_ended(table, tmp_path):
    parts = Parts(tmp_path / "out", {"seed": 0}, 4, 4, 4)
    parts.claim()
    samples = open_samples(table)
    batch = [[0, 1, 2, 3]]
    (part,) = encode_batches(samples, simple_encoders(), batch, workers=0, device="cpu")
    parts.remove()
    with pytest.raises(UserError, match="the unfinished embeddings are gone") as error:
        parts.save(0, part)
    assert error.value.code == 4 and not parts.made()


def test_a_part_of_a_run_that_was_given_up_is_not_put_among_those_of_another(table, tmp_path):
    """The folder was removed, and begun anew, while a process of the first run was stopped."""
    late, new = (
        Parts(tmp_path / "out", {"seed": 0}, 4, 4, 4),
        Parts(tmp_path / "out", {"seed": 1}, 4, 4, 4),
    )
    late.claim()
    shutil.rmtree(tmp_path / "out")
    new.claim()
    batch = [[0, 1, 2, 3]]
    samples = open_samples(table)
    (part,) = encode_batches(samples, simple_encoders(), batch, workers=0, device="cpu")
    with pytest.raises(UserError, match="of another kind: seed differs") as error:
        late.save(0, part)
    assert error.value.code == 4 and new.unfinished() == [0]
    new.save(0, part)
    first = (new.folder / "part_00000000.npz").stat()
    new.save(0, part)  # made twice: the first one stays
    assert (new.folder / "part_00000000.npz").stat() == first


def test_embeddings_of_others_are_left_alone(tmp_path):
    (tmp_path / "img_emb").mkdir()
    (tmp_path / "img_emb/img_emb_0.npy").write_bytes(b"theirs")
    with pytest.raises(UserError, match="made elsewhere") as error:
        Parts(tmp_path, {}, 4, 4, 4).claim()
    assert error.value.code == 4


def test_a_damaged_part_is_named(table, tmp_path):
    parts = Parts(tmp_path, {}, 4, 4, 4)
    parts.claim()
    rows = [[0, 1, 2, 3]]
    part = next(
        encode_batches(open_samples(table), simple_encoders(), rows, workers=0, device="cpu")
    )
    parts.save(0, part)
    path = tmp_path / ".unfinished/part_00000000.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged unfinished embeddings") as error:
        list(parts.loaded("image", "text", "rows", "rejected"))
    assert error.value.code == 4 and str(path) in str(error.value)


def test_temporary_files_of_a_killed_run_are_removed(tmp_path):
    """Before anything is written: they are as large as what they were to become."""
    killed_writer(tmp_path / "img_emb/img_emb_0.npy")
    (tmp_path / "img_emb/.notes.tmp").touch()
    Parts(tmp_path, {}, 4, 4, 4).claim()
    assert os.listdir(tmp_path / "img_emb") == [".notes.tmp"]
