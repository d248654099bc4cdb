"""A model that knows colors, on choices that one can judge by eye."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from hardpairs.core.errors import UserError
from hardpairs.data.choices import open_choices
from hardpairs.evaluating.choices import choices_table, evaluate_choices
from tests.embedding.colors import COLORS, Counted

ITEMS = [
    ("red", "red cup", "blue cup"),  # right
    ("blue", "blue cup", "red cup"),  # right
    ("red", "green cup", "red cup"),  # wrong
    ("green", "a green cup", "a green plate"),  # the model cannot tell: half
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, color in COLORS.items():
        Image.new("RGB", (8, 8), color).save(tmp_path / f"{name}.png")
    return tmp_path


def write(path: Path, items: list[tuple[str, str, str]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    content = {
        str(2 * i): {"filename": f"{image}.png", "caption": right, "negative_caption": wrong}
        for i, (image, right, wrong) in enumerate(items)
    }
    path.write_text(json.dumps(content))
    return path


def test_text_accuracy_with_each_image_and_caption_once(folder: Path) -> None:
    model = Counted()
    record = evaluate_choices(
        open_choices(write(folder / "swap.json", ITEMS)), model.encoders, workers=0
    )
    assert record["text"] == (1 + 1 + 0 + 0.5) / 4 and record["tied"] == 1
    assert "image" not in record and record["chance"] == {"text": 0.5}
    assert model.images == record["images"] == 3
    assert sorted(model.texts) == sorted(set(model.texts)) and record["captions"] == 5
    table = choices_table(record)
    assert "equal scores decide 1 items; equal scores count as the mean" in table
    assert "| all items | 62.5 |     4 |" in table


def test_files_are_groups_and_missing_images_leave_items_out(folder: Path) -> None:
    write(folder / "sets/add.json", ITEMS[:1])
    write(folder / "sets/swap.json", [*ITEMS[1:3], ("gone", "red cup", "blue cup")])
    choices = open_choices(folder / "sets", folder)
    record = evaluate_choices(choices, Counted().encoders, workers=0)
    assert record["items"] == 3 and record["unreadable"] == {"missing_file": 1}
    assert record["by_group"] == {
        "add": {"text": 1.0, "items": 1},
        "swap": {"text": 0.5, "items": 2},
    }
    assert record["macro"] == {"text": 0.75} and record["text"] == pytest.approx(2 / 3)
    table = choices_table(record)
    assert "missing_file 1" in table and "mean over groups" in table and "| swap " in table


def test_two_images_and_two_captions(folder: Path) -> None:
    """Right in both ways; wrong captions; one image that is near to both captions."""
    pairs = [("red", "blue"), ("red", "blue"), ("red", "green")]
    captions = [("red", "blue"), ("blue", "red"), ("red green", "green red")]
    items = [
        {"image_0": f"{a}.png", "image_1": f"{b}.png", "caption_0": c, "caption_1": d}
        for (a, b), (c, d) in zip(pairs, captions, strict=True)
    ]
    (folder / "w.json").write_text(json.dumps(items))
    record = evaluate_choices(open_choices(folder / "w.json"), Counted().encoders, workers=0)
    assert record["text"] == record["image"] == pytest.approx((1 + 0 + 0.25) / 3)
    assert record["group"] == pytest.approx((1 + 0 + 1 / 6) / 3)  # all four scores are equal
    assert record["chance"]["group"] == pytest.approx(1 / 6)


def test_no_item_that_can_be_read(folder: Path) -> None:
    (folder / "red.png").write_bytes(b"")
    with pytest.raises(UserError) as error:
        evaluate_choices(
            open_choices(write(folder / "x.json", ITEMS[:1])), Counted().encoders, workers=0
        )
    assert error.value.code == 3 and "empty_image" in error.value.text()
