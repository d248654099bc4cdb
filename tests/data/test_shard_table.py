"""Shards as a table; tests/cli/test_list_shards.py holds that both are the same data."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.shard_table import write_shard_table
from hardpairs.data.shards import Fields
from tests.helpers import sample, write_tar


def test_shards_without_a_sample_are_refused_with_what_img2dataset_noted(tmp_path):
    tar = write_tar(tmp_path / "00000.tar", {})
    with pytest.raises(UserError) as told:
        write_shard_table([str(tar)], tmp_path / "a.csv")
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
        write_shard_table([str(tar)], tmp_path / "a.csv")
    assert (
        "5 times failed_to_download: <urlopen error [Errno 111] Connection refused>"
        in told.value.why
    )
    assert not list(tmp_path.glob("*.csv*")) and not list(tmp_path.glob(".*"))


def test_every_sample_has_its_row_and_the_counts(tmp_path):
    without_image, without_caption = sample(1), sample(2, "")
    del without_image["jpg"]
    samples = {"a": sample(0), "b": without_image, "c": without_caption}
    tar = write_tar(tmp_path / "00007.tar", samples)
    counts = write_shard_table([str(tmp_path)], tmp_path / "a.csv")
    assert counts == {
        "rows": 3,
        "usable": 1,
        "rejected": {"missing_image": 1, "empty_caption": 1},
        "failed_downloads": {},
    }
    header, *rows = (tmp_path / "a.csv").read_text().splitlines()
    assert header == "filepath,title,shard,key,group,sha256,url"
    assert rows[0] == f"{tar}/a.jpg,picture number 0,00007,a,0,,http://x/0.jpg"
    assert rows[1].startswith(",picture number 1,") and rows[2].startswith(f"{tar}/c.jpg,,")


def test_nothing_usable_is_refused_with_what_there_is(tmp_path):
    members = {f"s{i}": {"img": b"x", "cap": b"a hill"} for i in range(5)}
    write_tar(tmp_path / "s/00000.tar", members)
    with pytest.raises(UserError) as told:
        write_shard_table([str(tmp_path / "s")], tmp_path / "a.csv")
    assert told.value.code == 3 and "members end in .cap, .img" in told.value.why
    assert not (tmp_path / "a.csv").exists()
    fields = Fields(image="img", caption=".cap")
    assert (
        write_shard_table([str(tmp_path / "s")], tmp_path / "a.csv", fields=fields)["usable"] == 5
    )
