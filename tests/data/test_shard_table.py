"""Shards as a table; tests/formats/test_samples.py holds that both are the same data."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardpairs.cli.list_shards import main
from hardpairs.core.errors import UserError
from hardpairs.data.samples import open_samples
from tests.helpers import sample, write_tar


def test_shards_without_a_sample_are_refused_with_what_img2dataset_noted(tmp_path):
    tar = write_tar(tmp_path / "00000.tar", {})
    with pytest.raises(UserError) as told:
        main(["--shards", str(tar), "--out", str(tmp_path / "a.csv")])
    assert (
        told.value.code == 3
        and "the shards hold no sample" in told.value.what
        and not told.value.why
    )
    failed = {
        "status": ["failed_to_download"] * 5,
        "error_message": ["<urlopen error [Errno 111] Connection refused>"] * 5,
    }
    pq.write_table(pa.table(failed), tmp_path / "00000.parquet")
    with pytest.raises(UserError) as told:
        main(["--shards", str(tar), "--out", str(tmp_path / "a.csv")])
    assert (
        "5 times failed_to_download: <urlopen error [Errno 111] Connection refused>"
        in told.value.why
    )
    assert not list(tmp_path.glob("*.csv*")) and not list(tmp_path.glob(".*"))


def test_urls_travel_into_the_table(tmp_path):
    tar = write_tar(
        tmp_path / "00000.tar",
        {
            "a": sample(0),
            "b": sample(1, json=b'{"url": "http://x/?a=1,2&b=\\"3\\""}'),
            "c": sample(2, json=b"{}"),
        },
    )
    main(["--shards", str(tar), "--out", str(tmp_path / "a.csv")])
    table, tars = open_samples(tmp_path / "a.csv"), open_samples(tar)
    assert list(table.urls) == list(tars.urls) == ["http://x/0.jpg", 'http://x/?a=1,2&b="3"', ""]
    assert table.fingerprint == tars.fingerprint
