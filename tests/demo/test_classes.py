"""Class folders."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.demo import emoji
from hardpairs.demo.classes import build_classes, misread
from tests.demo.made import scene_options


def test_class_folders_share_no_class_and_every_query_has_an_answer(tmp_path: Path) -> None:

    options = scene_options(pairs=80, views=4, layout="classes")
    assert build_classes(tmp_path, options) and not build_classes(tmp_path, options)
    classes = {
        part: {path.name for path in (tmp_path / part).iterdir()}
        for part in ("train", "validation", "test/query", "test/gallery")
    }
    assert (len(classes["train"]), len(classes["validation"]), len(classes["test/query"])) == (
        12,
        4,
        4,
    )
    assert (
        not classes["train"] & classes["validation"]
        and not (classes["train"] | classes["validation"]) & classes["test/gallery"]
    )
    assert classes["test/query"] == classes["test/gallery"]
    assert (
        len(list((tmp_path / "test/query").rglob("*.jpg"))) == 4
        and len(list((tmp_path / "test/gallery").rglob("*.jpg"))) == 12
    )
    with open(tmp_path / "news.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 and all(
        Path(row["image_path"]).is_file() and row["text"] for row in rows
    )
    assert len({row["label"] for row in rows}) == 4
    next((tmp_path / "train").rglob("*.jpg")).unlink()
    with pytest.raises(UserError, match="missing or changed"):
        build_classes(tmp_path, options)
    assert build_classes(tmp_path, options, force=True)


def test_two_vendors_are_query_and_gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = tmp_path / "vendor"
    vendor.mkdir()
    drawings = emoji.openmoji_drawings()[:300]
    monkeypatch.setattr(emoji, "openmoji_drawings", lambda: drawings)
    for drawing in drawings[:40]:
        emoji.rasterize(drawing.path).convert("RGBA").rotate(90).save(vendor / f"{drawing.key}.png")
    (vendor / "names.json").write_text(
        json.dumps({f"{drawing.key}.png": drawing.caption for drawing in drawings[:40]})
    )
    assert build_classes(
        tmp_path / "out",
        scene_options(
            kind="emoji",
            pairs=2 * (len(drawings) + 40),
            second_vendor=str(vendor),
            layout="classes",
        ),
    )
    query, gallery = (
        {path.name for path in (tmp_path / "out/test" / side).iterdir()}
        for side in ("query", "gallery")
    )
    assert query == gallery and 0 < len(query) < 40


def test_misread_text_is_a_text_and_the_same_each_time() -> None:

    said = [
        misread("Flag of Curaçao, woman's hat", np.random.default_rng(seed)) for seed in (1, 1, 2)
    ]
    assert said[0] == said[1] != said[2] and all(said)
    assert misread(" ", np.random.default_rng(0))


def test_too_few_classes_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="9 classes are too few for three parts"):
        build_classes(tmp_path, scene_options(pairs=36, views=4, layout="classes"))
    assert not list(tmp_path.rglob("*.jpg"))
