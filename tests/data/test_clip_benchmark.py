"""CLIP_benchmark's folders of shards."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.clip_benchmark import clip_benchmark_shards, read_classes, read_templates
from hardpairs.data.opening import open_samples
from hardpairs.data.shard_table import write_shard_table
from hardpairs.data.splits import split_into
from tests.helpers import picture, write_tar


def write_retrieval(folder: Path) -> Path:
    """Write two shards of two images; the writer of CLIP_benchmark names keys and files so."""
    for shard in range(2):
        samples = {}
        for i in (2 * shard, 2 * shard + 1):
            text = "\n".join(f"picture number {10 * i + j}" for j in range(1 + i))
            samples[f"s{i:07d}"] = {"webp": picture(i), "txt": text.encode()}
        write_tar(folder / f"test/{shard}.tar", samples)
    (folder / "test/nshards.txt").write_text("2\n")
    (folder / "dataset_type.txt").write_text("retrieval\n")
    return folder


def write_classes(folder: Path, classes: int = 3, each: int = 2, part: str = "test") -> Path:
    """Write a shard of images that are alike within a class."""
    samples = {
        f"s{i:07d}": {"jpg": picture(i % classes), "cls": str(i % classes).encode()}
        for i in range(classes * each)
    }
    write_tar(folder / part / "0.tar", samples)
    (folder / part / "nshards.txt").write_text("1\n")
    (folder / "classnames.txt").write_text("".join(f"number {i}\n" for i in range(classes)))
    (folder / "zeroshot_classification_templates.txt").write_text("a picture of {c}\n{c}\n")
    return folder


def test_each_line_is_a_row_of_its_image(tmp_path: Path) -> None:
    samples = open_samples(write_retrieval(tmp_path))
    assert len(samples) == 1 + 2 + 3 + 4 and len(set(samples.images.tolist())) == 4
    assert samples.caption(2) == "picture number 11" and samples.images[1] == samples.images[2]
    assert (samples.shards[2], samples.keys[2]) == ("0", "s0000001#1")
    assert samples.image_bytes(9) == picture(3) and samples.image_bytes(3) == picture(2)
    assert open_samples(tmp_path / "test").fingerprint == samples.fingerprint


def test_an_image_without_caption_or_image_is_rejected(tmp_path: Path) -> None:
    write_retrieval(tmp_path)
    write_tar(tmp_path / "test/1.tar", {"s2": {"jpg": picture(0)}, "s3": {"txt": b"words"}})
    rejected = open_samples(tmp_path).rejected
    assert sorted(rejected.values()) == ["empty_caption", "missing_image"]


def test_classes_and_templates(tmp_path: Path) -> None:
    write_classes(tmp_path)
    assert read_classes(str(tmp_path)) == ["number 0", "number 1", "number 2"]
    assert read_templates(str(tmp_path / "test")) == ["a picture of {}", "{}"]
    assert clip_benchmark_shards(str(tmp_path), "classification") == [tmp_path / "test/0.tar"]
    assert clip_benchmark_shards(str(tmp_path / "nowhere")) is None
    assert read_templates(str(tmp_path / "nowhere")) == []


def test_wrong_folders(tmp_path: Path) -> None:
    write_classes(tmp_path / "classes")
    write_retrieval(tmp_path / "pairs")
    (tmp_path / "classes/zeroshot_classification_templates.txt").write_text("a picture\n")
    (tmp_path / "pairs/test/1.tar").unlink()

    def no_count() -> None:
        (tmp_path / "pairs/test/nshards.txt").write_text("many")
        open_samples(tmp_path / "pairs")

    def no_names() -> None:
        (tmp_path / "classes/classnames.txt").write_text("\n")
        read_classes(str(tmp_path / "classes"))

    for act, says in (
        (lambda: open_samples(tmp_path / "classes"), "for classification, not for retrieval"),
        (lambda: open_samples(tmp_path / "pairs"), "1 of 2 shards are missing"),
        (lambda: read_templates(str(tmp_path / "classes")), "one {c} for the class"),
        (no_count, "no number of shards"),
        (no_names, "no names of the classes"),
    ):
        with pytest.raises(UserError) as error:
            act()
        assert error.value.code == 3 and says in error.value.text()


def test_its_shards_their_table_and_their_split_are_the_same_rows(tmp_path: Path) -> None:
    folder = write_retrieval(tmp_path / "pairs")
    samples = open_samples(folder)
    assert open_samples(f"{folder}/test/{{0..1}}.tar").fingerprint == samples.fingerprint
    assert write_shard_table([f"{folder}/test"], tmp_path / "t.csv")["usable"] == 10
    table = open_samples(tmp_path / "t.csv")
    assert table.fingerprint == samples.fingerprint
    assert (table.images == samples.images).all() and table.image_bytes(9) == picture(3)
    for shard in (4, 6):  # eight images in all
        (folder / f"test/{shard // 2}.tar").write_bytes((folder / "test/1.tar").read_bytes())
    (folder / "test/nshards.txt").write_text("4\n")
    split_into(tmp_path / "split", open_samples(folder))
    parts = [open_samples(tmp_path / f"split/{part}.csv") for part in ("train", "val", "test")]
    assert sum(len(set(part.images.tolist())) for part in parts) == 8
    assert all(part.image_bytes(row) for part in parts for row in range(len(part)))
