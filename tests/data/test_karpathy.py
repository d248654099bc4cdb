"""Karpathy's splits, as data of every command."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.karpathy import is_karpathy, karpathy_root, read_karpathy
from hardpairs.data.opening import open_samples
from tests.helpers import picture


def entry(number: int, split: str, captions: int = 2) -> dict[str, Any]:
    """Return an image as dataset_coco.json has it."""
    sentences = [
        {"raw": f"thing {number} seen {i} ", "imgid": number, "sentid": 100 * number + i}
        for i in range(captions)
    ]
    return {
        "filepath": "val2014",
        "filename": f"COCO_val2014_{number:012d}.jpg",
        "imgid": number,
        "cocoid": 7000 + number,
        "split": split,
        "sentences": sentences,
        "sentids": [each["sentid"] for each in sentences],
    }


COCO = {
    "dataset": "coco",
    "images": [entry(i, split) for i, split in enumerate(["test", "val", "train", "restval"])],
}


def write(folder: Path) -> Path:
    """Write dataset_coco.json and its images."""
    (folder / "val2014").mkdir(parents=True)
    for each in COCO["images"]:
        (folder / "val2014" / each["filename"]).write_bytes(picture(each["imgid"]))
    (folder / "dataset_coco.json").write_text(json.dumps(COCO))
    return folder / "dataset_coco.json"


def test_a_part_of_coco_has_the_ids_of_its_annotations(tmp_path: Path) -> None:
    samples = open_samples(write(tmp_path), split="test")
    assert list(samples.captions) == ["thing 0 seen 0", "thing 0 seen 1"]
    assert samples.image_ids is not None and list(samples.image_ids) == ["7000", "7000"]
    assert samples.caption_ids is not None and list(samples.caption_ids) == ["0", "1"]
    assert samples.images[0] == samples.images[1] and not samples.rejected
    assert samples.image_bytes(1) == picture(0)


def test_train_is_train_and_restval(tmp_path: Path) -> None:
    samples = open_samples(write(tmp_path), split="train")
    assert [samples.caption(i) for i in (0, 2)] == ["thing 2 seen 0", "thing 3 seen 0"]


def test_flickr30k_has_no_folder_of_its_own_and_no_ids_of_coco(tmp_path: Path) -> None:
    content = copy.deepcopy(COCO)
    (tmp_path / "flickr30k-images").mkdir()
    for each in content["images"]:
        del each["filepath"], each["cocoid"]
        (tmp_path / "flickr30k-images" / each["filename"]).write_bytes(picture(0))
    (tmp_path / "dataset_flickr30k.json").write_text(json.dumps(content))
    samples = open_samples(tmp_path / "dataset_flickr30k.json", split="val")
    assert samples.image_bytes(0) == picture(0) and not samples.rejected
    assert samples.image_ids is not None and samples.image_ids[0] == "1"
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "flickr30k-images").rename(elsewhere)
    given = open_samples(tmp_path / "dataset_flickr30k.json", split="val", image_root=elsewhere)
    assert given.image_bytes(0) == picture(0)


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (None, "no part of the file is named"),
        ("dev", "no part 'dev'"),
        (None, "images of each part: test 1, train 2, val 1"),
    ],
)
def test_the_part_is_asked_for(tmp_path: Path, split: str | None, says: str) -> None:
    with pytest.raises(UserError) as error:
        open_samples(write(tmp_path), split=split)
    assert error.value.code == 2 and says in error.value.text()
    assert "`split` test" in error.value.fix


def test_a_single_part_is_asked_for_too() -> None:
    content = {"images": [entry(0, "test")]}
    with pytest.raises(UserError, match="no part of the file is named") as error:
        read_karpathy(content, None, "x.json")
    assert error.value.where.endswith("test 1") and not error.value.why


def test_wrong_content() -> None:
    assert not is_karpathy([{"file_name": "a", "caption": "b"}]) and not is_karpathy({"images": []})
    for change, says in (("sentences", "'sentences'"), ("filename", "'filename'")):
        content = copy.deepcopy(COCO)
        del content["images"][0][change]
        with pytest.raises(UserError, match=says) as error:
            read_karpathy(content, "test", "x.json")
        assert error.value.code == 3 and "image 0" in error.value.where
    content = copy.deepcopy(COCO)
    content["images"][0]["filename"] = "../../x.jpg"
    with pytest.raises(UserError, match="leaves the image folder"):
        read_karpathy(content, "test", "x.json")


def test_a_split_of_other_data_is_refused(table: Path) -> None:
    (table.parent / "captions.json").write_text("[]")
    for source in (table, table.parent / "captions.json", ["a.tar"]):
        with pytest.raises(UserError, match="`split` is for") as error:
            open_samples(source, split="test")
        assert error.value.code == 2


def test_a_name_that_no_file_can_have_is_in_no_folder(tmp_path: Path) -> None:
    assert karpathy_root("x" * 300, tmp_path) == tmp_path
