"""Shards: labels, and names that are not unique."""

import json

import pytest

from hardpairs.cli.list_shards import main
from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.data.splits import split_into
from tests.data.facts import write_collections
from tests.helpers import sample, write_tar


def test_labels_of_shards(tmp_path):
    samples = {f"{i:04d}": sample(i, json=b"{}", cls=str(i // 2).encode()) for i in range(4)}
    del samples["0003"]["cls"]
    opened = open_samples(write_tar(tmp_path / "0.tar", samples).parent)
    assert opened.labelled.tolist() == [True, True, True, False] and opened.group(
        0
    ) == opened.group(1) != opened.group(2) != opened.group(3)


def test_a_key_of_the_json_as_label(tmp_path):
    samples = {
        f"{i:04d}": sample(i, json=json.dumps({"story": f"s{i // 2}", "group": i}).encode())
        for i in range(4)
    }
    folder = write_tar(tmp_path / "0.tar", samples).parent
    assert len(set(open_samples(folder).groups.tolist())) == 4
    assert (
        len(set(open_samples(folder, group_key="story").groups.tolist())) == 2
    )  # though the index on disk was made for the other key
    assert len(set(open_samples(folder).groups.tolist())) == 4
    with pytest.raises(UserError, match="no sample's json has 'topic'") as error:
        open_samples(folder, group_key="topic")
    assert error.value.code == 3


def test_shards_of_equal_names_are_different(tmp_path):
    collections = write_collections(tmp_path)
    samples = open_samples(collections)
    assert len(set(samples.images.tolist())) == 16 and set(samples.shards) == {
        "cc3m/00000",
        "cc12m/00000",
    }
    command = ["--shards", *collections, "--out", str(tmp_path / "t.csv")]
    assert main([*command, "--extract", str(tmp_path / "out")]) == 0
    table = open_samples(tmp_path / "t.csv")
    assert table.fingerprint == samples.fingerprint and len(set(table.groups.tolist())) == 16
    assert [table.image_bytes(i) for i in range(16)] == [samples.image_bytes(i) for i in range(16)]
    split_into(tmp_path / "split", samples)
    names = json.loads((tmp_path / "split/split.json").read_text())
    assert len({name for part in names.values() for name in part}) == 16
    parts = [open_samples(tmp_path / f"split/{part}.csv") for part in names]
    assert sum(len(set(part.images.tolist())) for part in parts) == 16
