"""The fields of choice benchmarks."""

from __future__ import annotations

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.choice_fields import LAYOUTS, box_of, captions_of, group_of, layout_of


def test_each_layout_is_known_by_its_own_fields() -> None:
    for layout in LAYOUTS:
        item = dict.fromkeys((*layout.fields, "image"), "x")
        assert layout_of(item, "f, item 0") == layout


def test_the_layout_with_most_of_the_fields_names_what_is_missing() -> None:
    with pytest.raises(UserError) as error:
        layout_of({"image_0": 1, "image_1": 1, "caption_0": "a"}, "f.parquet, item 0")
    text = error.value.text()
    assert "the field caption_1 is missing" in text and "f.parquet, item 0" in text
    assert "SugarCrepe (caption, negative_caption)" in text


def test_values() -> None:
    assert captions_of({"a": " x ", "b": ["y", "z"]}, ("a", "b"), "") == ["x", "y", "z"]
    assert box_of({"a": 1}, "") is None
    box = {"bbox_x": 1, "bbox_y": 2, "bbox_w": 3, "bbox_h": 4}
    assert box_of(box, "") == (1, 2, 4, 6)
    for wrong in (0, -1, "3", None):
        with pytest.raises(UserError, match="no box"):
            box_of({**box, "bbox_w": wrong}, "")
    attribution = next(layout for layout in LAYOUTS if layout.group == "attributes")
    assert group_of({"attributes": ["red", "old"]}, attribution) == "red_old"
