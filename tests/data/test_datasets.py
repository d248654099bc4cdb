"""Data sets by name, and shards by number."""

from __future__ import annotations

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.datasets import Dataset, find_dataset, shards_between


def test_names_of_datasets(shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARDPAIRS_DATA", raising=False)
    (tmp_path / "datasets.yaml").write_text(f"toy: {{shards: {shards}}}\n")
    dataset = find_dataset("toy")
    assert dataset == Dataset("toy", str(shards))
    with pytest.raises(UserError, match="no data set has the name 'other'") as error:
        find_dataset("other")
    assert error.value.code == 2
    monkeypatch.setenv("HARDPAIRS_DATA", str(tmp_path))
    assert find_dataset("shards") == Dataset("shards", str(shards))
    (shards / "embeddings").mkdir()
    assert find_dataset("shards").embeddings == str(shards / "embeddings")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("toy: [1, 2]", "each entry must be"),
        ("toy: {shards: a, images: b}", "each entry must be"),
        ("toy: {shards: 3}", "each entry must be"),
        ("toy: {", "not a readable YAML"),
    ],
)
def test_a_wrong_list_of_datasets_is_refused(tmp_path, monkeypatch, content, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets.yaml").write_text(content)
    with pytest.raises(UserError, match=says) as error:
        find_dataset("toy")
    assert error.value.code == 3


def test_shards_by_number(shards):
    def numbers(start, end):
        return [int(path[-9:-4]) for path in shards_between(str(shards), start, end)]

    assert numbers(1, 2) == numbers(1, None) == [1, 2]  # both ends, as HELIP counts
    assert numbers(None, 1) == [0, 1] and numbers(None, None) == [0, 1, 2]
    with pytest.raises(UserError, match="no tar from 7 to 9") as error:
        numbers(7, 9)
    assert error.value.code == 2
    (shards / "00000.tar").rename(shards / "first.tar")
    with pytest.raises(UserError, match="tars named by number"):
        numbers(1, 2)
