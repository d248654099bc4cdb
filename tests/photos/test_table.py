"""Rows as columns, in memory and in a file."""

from __future__ import annotations

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.photos.scan import PhotoFile
from hardpairs.photos.table import NO_DIGEST, Row, Table

ROWS = [
    Row(PhotoFile("/a/caf\udce9 \n.jpg", "", -1, 7, 123_456_789_012_345_678), bytes(range(32)), ""),
    Row(PhotoFile("/a/b.tar", "00001", 512, 9, 5), NO_DIGEST, "ein Hügel"),
]


def test_rows_come_back_from_columns_and_from_a_file(tmp_path):
    table = Table.of(ROWS)
    table.write(tmp_path / "photos.npz")
    for again in (
        table,
        Table.from_columns(table.columns("unreadable_"), "unreadable_"),
        Table.read(tmp_path / "photos.npz"),
    ):
        assert len(again) == 2 and list(again.files()) == [row.file for row in ROWS]
        assert [again.file(row) for row in range(2)] == [row.file for row in ROWS]
        assert list(again.notes) == ["", "ein Hügel"]
        assert [digest.tobytes() for digest in again.digest] == [row.digest for row in ROWS]


def test_a_table_without_rows():
    table = Table.of([])
    assert len(table) == 0 and list(table.files()) == [] and table.digest.shape == (0, 32)


@pytest.mark.parametrize("content", [b"", b"PK", b"something else"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "photos-1.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="the index is damaged") as error:
        Table.read(path)
    assert error.value.code == 4 and error.value.where == str(path)
    np.savez(path, paths_data=np.zeros(3))
    with pytest.raises(UserError, match="the index is damaged"):
        Table.read(path)
