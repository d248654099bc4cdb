"""The command line of hardpairs export."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from pyarrow.json import read_json

from hardpairs.cli.export import main
from hardpairs.core.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--to", "st-triplet"], 2, "nothing says where they are"),
        (["--to", "fe-jsonl", "--data", "DATA", "--anchor", "image"], 2, "texts alone"),
        (["--to", "parquet", "--anchor", "image"], 2, "--anchor is for"),
        (["--to", "st-triplet", "--data", "OTHER"], 4, "other data"),
    ],
)
def test_what_is_refused(table, hard_pairs, tmp_path, arguments, code, says):
    other = tmp_path / "other.csv"
    other.write_text(table.read_text().replace("number", "legend"))
    names = {"DATA": str(table), "OTHER": str(other)}
    given = [names.get(argument, argument) for argument in arguments]
    with pytest.raises(UserError, match=says) as error:
        main([str(hard_pairs), "--out", str(tmp_path / "x"), *given])
    assert error.value.code == code and not (tmp_path / "x").exists()


def test_each_format_has_its_own_anchor_and_five_negatives(table, hard_pairs, tmp_path, capsys):
    """The lists have six hard pairs; a parquet file of pairs holds them all."""
    rows = {}
    for to in ("parquet", "st-ntuple", "fe-jsonl"):
        line = [str(hard_pairs), "--to", to, "--data", str(table), "--out", str(tmp_path / to)]
        assert main(line) == 0 and str(tmp_path / to) in capsys.readouterr().err
        read = pq.read_table if to != "fe-jsonl" else read_json
        rows[to] = read(tmp_path / to).to_pylist()
    assert len(rows["parquet"]) == 240 and len(rows["st-ntuple"]) == len(rows["fe-jsonl"]) == 40
    assert isinstance(rows["st-ntuple"][0]["anchor"], dict)  # an image
    assert list(rows["st-ntuple"][0])[-1] == "negative_5"
    assert (
        rows["fe-jsonl"][7]["query"] == "picture number 7" and len(rows["fe-jsonl"][7]["neg"]) == 5
    )
