"""The parts of a folder by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.data.split_parts import part_of_folder
from hardpairs.data.splits import split_into
from tests.helpers import picture, sample, write_tar


def test_a_folder_of_hardpairs_split(table: Path, tmp_path: Path) -> None:
    split = split_into(tmp_path / "split", open_samples(table))
    for part in ("train", "val", "test"):
        whole, named = open_samples(split.table(part)), open_samples(split.folder, split=part)
        assert named.fingerprint == whole.fingerprint and named.source == str(split.table(part))


def test_the_separator_of_a_part_is_that_of_its_header(table: Path, tmp_path: Path) -> None:
    """OpenCLIP's default is a tab, and ``hardpairs split`` writes commas."""
    split = split_into(tmp_path / "split", open_samples(table))
    assert len(open_samples(split.folder, split="val", separator="\t"))


def test_folders_of_shards_and_of_images(tmp_path: Path) -> None:
    write_tar(tmp_path / "shards/train/0.tar", {"a": sample(0), "b": sample(1)})
    write_tar(tmp_path / "shards/test/0.tar", {"c": sample(2)})
    assert len(open_samples(tmp_path / "shards", split="train")) == 2
    (tmp_path / "classes/validation/fox").mkdir(parents=True)
    (tmp_path / "classes/validation/fox/1.jpg").write_bytes(picture(0))
    samples = open_samples(tmp_path / "classes", split="val", caption_template="a {}")
    assert list(samples.captions) == ["a fox"]


def test_a_table_comes_before_a_folder(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val.csv").touch()
    assert part_of_folder(tmp_path, "val") == tmp_path / "val.csv"


def test_a_part_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="no part 'test'") as error:
        part_of_folder(tmp_path, "test")
    assert error.value.code == 2 and error.value.where == f"{tmp_path}: train"
