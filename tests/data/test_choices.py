"""Files of choice benchmarks, in the fields in which they are published."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from hardpairs.core.errors import UserError
from hardpairs.data.choices import open_choices
from hardpairs.data.images import UnreadableImage
from tests.helpers import picture

SUGARCREPE = {
    "0": {"filename": "0.jpg", "caption": "a red cup", "negative_caption": "a blue cup"},
    "3": {"filename": "1.jpg", "caption": "a tree", "negative_caption": "a red cup"},
    "7": {"filename": "0.jpg", "caption": "a cup", "negative_caption": "a plate"},
}
"""The index has gaps."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for i in range(3):
        (tmp_path / f"photos/{i}.jpg").write_bytes(picture(i))
    return tmp_path


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_sugarcrepe(folder: Path) -> None:
    choices = open_choices(write(folder / "swap_obj.json", SUGARCREPE), folder / "photos")
    assert choices.name == "SugarCrepe" and len(choices) == 3 and choices.groups == []
    assert choices.image_of.tolist() == [[0], [1], [0]]  # two images, each once
    assert choices.captions == ["a red cup", "a blue cup", "a tree", "a cup", "a plate"]
    assert choices.text_of.tolist() == [[0, 1], [2, 0], [3, 4]]
    assert choices.images.image(1).size == (32, 32)


def test_the_files_of_a_folder_are_groups(folder: Path) -> None:
    for name in ("swap_obj", "add_att"):
        write(folder / f"sets/{name}.json", SUGARCREPE)
    choices = open_choices(folder / "sets", folder / "photos")
    assert choices.groups == ["add_att"] * 3 + ["swap_obj"] * 3
    assert len(choices.captions) == 5 and len(choices.images) == 2


def test_valse_keeps_what_people_confirmed(folder: Path) -> None:
    """Images are in a folder of their data set; two of three people must have taken the caption."""
    (folder / "photos/SWiG").mkdir()
    (folder / "photos/0.jpg").rename(folder / "photos/SWiG/0.jpg")
    item = {"dataset": "SWiG", "image_file": "0.jpg", "caption": "a man", "foil": "a torso"}
    items = {
        f"actions_test_{votes}": {**item, "mturk": {"caption": votes, "foil": 3 - votes}}
        for votes in range(4)
    }
    choices = open_choices(write(folder / "actions.json", items), folder / "photos")
    assert choices.name == "VALSE" and (len(choices), choices.not_valid) == (2, 2)
    assert choices.images.missing() == []


def test_winoground_as_json_lines(folder: Path) -> None:
    """The published names of images have no ending; the images are beside the file."""
    (folder / "images").mkdir()
    for i in range(2):
        Image.new("RGB", (8, 8)).save(folder / f"images/ex_0_img_{i}.png")
    item = {f"image_{i}": f"ex_0_img_{i}" for i in range(2)}
    item |= {"id": 0, "caption_0": "old kisses young", "caption_1": "young kisses old"}
    (folder / "examples.jsonl").write_text(json.dumps(item) + "\n")
    choices = open_choices(folder / "examples.jsonl")
    assert choices.name == "Winoground" and choices.images.missing() == []
    assert choices.image_of.tolist() == choices.text_of.tolist() == [[0, 1]]


def write_parquet(path: Path, columns: dict[str, list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path)


def test_colorswap_as_parquet_holds_its_images(folder: Path) -> None:
    """Its captions and images are numbered from 1, Winoground's from 0."""
    for piece in range(2):
        write_parquet(
            folder / f"data/test-0000{piece}-of-00002-9f3a.parquet",
            {
                "id": [piece],
                "image_1": [{"bytes": picture(0), "path": "a.png"}],
                "image_2": [{"bytes": picture(1 + piece), "path": "b.png"}],
                "caption_1": ["a red cup on a blue plate"],
                "caption_2": ["a blue cup on a red plate"],
            },
        )
    choices = open_choices(folder)
    assert choices.name == "ColorSwap" and choices.groups == []
    assert choices.image_of.tolist() == [[0, 1], [0, 2]] and len(choices.captions) == 2
    write_parquet(folder / "data/train-00000-of-00001.parquet", {"id": [0]})
    with pytest.raises(UserError, match="several parts: test, train") as error:
        open_choices(folder)
    assert error.value.code == 2


def test_aro_crops_the_box_and_names_the_group(folder: Path) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[5:15, 10:30] = (200, 0, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    (folder / "photos/2370799.png").write_bytes(buffer.getvalue())
    item = {
        "image_path": "2370799.png",
        "true_caption": "the door is on the house",
        "false_caption": "the house is on the door",
        "bbox_x": 10,
        "bbox_y": 5,
        "bbox_w": 20,
        "bbox_h": 10,
    }
    relation = {**item, "relation_name": "on"}
    other_box = {**item, "bbox_w": 5, "relation_name": "in"}
    choices = open_choices(write(folder / "r.json", [relation, other_box]), folder / "photos")
    assert choices.name == "ARO VG-Relation" and choices.groups == ["on", "in"]
    assert choices.image_of.tolist() == [[0], [1]]  # another part is another image
    cut = np.asarray(choices.images.image(0))
    assert cut.shape == (10, 20, 3) and (cut == (200, 0, 0)).all()
    huge = {**relation, "bbox_w": 10**6, "bbox_h": 10**6}
    choices = open_choices(write(folder / "h.json", [huge]), folder / "photos")
    with pytest.raises(UnreadableImage, match="too_many_pixels"):
        choices.images.image(0)
    attributes = {**item, "attributes": ["white", "open"]}
    choices = open_choices(write(folder / "a.json", [attributes]), folder / "photos")
    assert choices.name == "ARO VG-Attribution" and choices.groups == ["white_open"]
    assert choices.least == 25


@pytest.mark.parametrize(
    "fields",
    [
        {"caption_options": ["a b c", "b a c", "c b a", "a c b", "b c a"]},
        {"correct_caption": "a b c", **{f"hard_text_{i}": "b a c" for i in range(1, 5)}},
    ],
)
def test_aro_order_has_five_captions(folder: Path, fields: dict[str, object]) -> None:
    choices = open_choices(
        write(folder / "order.json", [{"image": "0.jpg", **fields}]), folder / "photos"
    )
    assert choices.name == "ARO order" and choices.text_of.shape == (1, 5)
    assert choices.captions[choices.text_of[0, 0]] == "a b c"


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        ([{"filename": "0.jpg", "caption": "a"}], 3, "the field negative_caption is missing"),
        ([{"filename": "0.jpg", "caption": "a"}], 3, "fields found: filename, caption"),
        ([{"caption": "a", "foil": "b"}], 3, "image_path or image or images or filename"),
        (["a"], 3, "an item is an object"),
        ([], 3, "no item"),
        ([{**SUGARCREPE["0"], "caption": " "}], 3, "item 0"),
        ([SUGARCREPE["0"], {"filename": "0.jpg", "caption": "a"}], 3, "item 1"),
        ([{**SUGARCREPE["0"], "filename": "../0.jpg"}], 3, "leaves the folder"),
        ([{**SUGARCREPE["0"], "filename": "nowhere.jpg"}], 3, "none of the images is there"),
        ([{**SUGARCREPE["0"], "bbox_x": 1}], 3, "the field bbox_y is missing"),
        ([{"image": "0.jpg", "caption_options": ["a"]}], 3, "one caption is no choice"),
    ],
)
def test_wrong_fields(folder: Path, content: object, code: int, says: str) -> None:
    with pytest.raises(UserError) as error:
        open_choices(write(folder / "x.json", content), folder / "photos")
    assert error.value.code == code and says in error.value.text()


def test_wrong_paths(folder: Path) -> None:
    write(folder / "two/a.json", SUGARCREPE)
    valse = {"0": {"image_file": "0.jpg", "caption": "a", "foil": "b"}}
    write(folder / "two/b.json", valse)
    (folder / "torn.json").write_text("{")
    for source, code, says in (
        ("nowhere.json", 2, "no such file"),
        ("photos", 2, "a folder of them"),
        ("two", 2, "VALSE beside SugarCrepe"),
        ("torn.json", 3, "cannot be read"),
    ):
        with pytest.raises(UserError) as error:
            open_choices(folder / source, folder / "photos")
        assert error.value.code == code and says in error.value.text()
