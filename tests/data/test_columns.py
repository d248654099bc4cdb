"""Embeddings in a column of parquet files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.columns import UNREADABLE, load_column, read_parquet


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_keep_their_type_and_parts_the_order_of_their_numbers(tmp_path, dtype):
    rows = np.random.default_rng(0).normal(size=(12, 3)).astype(dtype)
    for part, number in enumerate((2, 9, 10)):  # as text, part 10 comes before part 9
        own = pa.array(rows[4 * part : 4 * part + 4].ravel())
        lists = pa.FixedSizeListArray.from_arrays(own, 3)
        pq.write_table(pa.table({"x": lists, "y": range(4)}), tmp_path / f"part{number}.parquet")
    found = load_column(f"{tmp_path}:x")
    assert found.dtype == dtype and np.array_equal(found, rows)
    assert np.array_equal(load_column(f"{tmp_path}/part9.parquet:x"), rows[4:8])


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        ("none.parquet:image", 3, "no such parquet"),
        (":image", 2, "PATH.parquet:COLUMN"),
        ("one.parquet", 2, "PATH.parquet:COLUMN"),
        ("one.parquet:pixels", 3, "no column 'pixels'; it has caption, image, missing, ragged"),
        ("one.parquet:caption", 3, "lists of floating numbers"),
        ("one.parquet:ragged", 3, "row 1 has 2 numbers, row 0 has 3"),
        ("one.parquet:missing", 3, "row 2 is empty"),
        ("torn.parquet:image", 3, "not a readable parquet file"),
    ],
)
def test_bad_columns(tmp_path, monkeypatch, source, code, says):
    monkeypatch.chdir(tmp_path)
    columns = {
        "caption": [str(i) for i in range(60)],
        "image": [[0.5, 1.0]] * 60,
        "ragged": [[0.5] * (3 - (i == 1)) for i in range(60)],
        "missing": [[0.5] if i != 2 else None for i in range(60)],
    }
    pq.write_table(pa.table(columns), "one.parquet")
    Path("torn.parquet").write_bytes(Path("one.parquet").read_bytes()[:-9])
    with pytest.raises(UserError, match=says) as error:
        load_column(source)
    assert error.value.code == code


def test_texts_that_are_no_text_are_refused(tmp_path):
    pq.write_table(pa.table({"key": ["abcdef"]}), tmp_path / "x.parquet", compression="none")
    data = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(data.replace(b"abcdef", b"abc\xff\xfef"))
    with pytest.raises(UNREADABLE, match="UTF8"):
        read_parquet(tmp_path / "x.parquet", ["key"])
