"""Image-text pairs: what is written is what is declared, and is repeatable."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from hardpairs.demo import emoji
from hardpairs.demo.options import DemoOptions
from hardpairs.demo.pairs import build_pairs
from tests.demo.made import contents, read_table, scene_options, vendor_folder


def test_tables_and_pictures_are_what_the_manifest_says(tmp_path: Path) -> None:
    assert build_pairs(tmp_path, scene_options(pairs=31))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["rows"] == {
        "train": 31,
        "val": 16,
        "test": 32,
    }  # 16 scenes of 2, 1 and 2 views; the last one shows once
    broken = {entry["file"] for entry in manifest["broken"]}
    for split, count in manifest["rows"].items():
        good = [
            row
            for row in read_table(tmp_path / f"{split}.tsv")
            if "/".join(row[1].rsplit("/", 2)[1:]) not in broken
        ]
        assert len(good) == count
        for caption, url, group in good:
            picture = Image.open(tmp_path / "images" / "/".join(url.rsplit("/", 2)[1:]))
            picture.load()
            assert picture.size == (64, 64) and caption and int(group) >= 0


def test_broken_entries_fail_as_declared(tmp_path: Path) -> None:
    build_pairs(tmp_path, scene_options())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert [entry["fault"] for entry in manifest["broken"]] == [
        "not found",
        "html",
        "cut",
        "empty caption",
    ] * 2
    in_table = {
        "/".join(url.rsplit("/", 2)[1:]): caption
        for caption, url, _ in read_table(tmp_path / "train.tsv")
    }
    for entry in manifest["broken"]:
        file = tmp_path / "images" / entry["file"]
        assert in_table[entry["file"]] == entry["caption"]
        assert file.exists() == (entry["fault"] != "not found")
        if entry["fault"] in ("html", "cut"):
            with pytest.raises(OSError):
                Image.open(io.BytesIO(file.read_bytes())).load()
        assert (entry["caption"] == "") == (entry["fault"] == "empty caption")


@pytest.mark.parametrize("kind", ["scenes", "emoji"])
def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path, kind: str) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        build_pairs(tmp_path / name, DemoOptions(kind, 8, 2, seed))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_photographs_of_a_drawing_do_not_depend_on_how_many_are_made(tmp_path: Path) -> None:
    every = len(emoji.openmoji_drawings())
    few, more = DemoOptions("emoji", 3, 1, 0), DemoOptions("emoji", 6, 2, 0)
    build_pairs(tmp_path / "few", few)
    build_pairs(tmp_path / "more", more)
    assert every > 1900
    assert {
        name: data
        for name, data in contents(tmp_path / "few/images").items()
        if "0000" in name and "_00.jpg" in name
    } == {
        name: data
        for name, data in contents(tmp_path / "more/images").items()
        if "0000" in name and "_00.jpg" in name
    }


def test_identical_drawings_share_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"flag of Norway", "flag of Svalbard & Jan Mayen", "flag of France"}
    chosen = [drawing for drawing in emoji.openmoji_drawings() if drawing.caption in wanted]
    monkeypatch.setattr(emoji, "openmoji_drawings", lambda: chosen)
    build_pairs(tmp_path, DemoOptions("emoji", 3, 1, 0))
    groups = {caption: group for caption, _, group in read_table(tmp_path / "val.tsv")}
    assert (
        groups["flag of Norway"]
        == groups["flag of Svalbard & Jan Mayen"]
        != groups["flag of France"]
    )


@pytest.mark.parametrize("layout", ["emoji.json", "names.json"])
def test_second_vendor_joins_the_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    vendor = vendor_folder(tmp_path / "vendor", layout)
    chosen = [
        drawing
        for drawing in emoji.openmoji_drawings()
        if drawing.caption in ("banana", "bicycle", "zebra")
    ]
    monkeypatch.setattr(emoji, "openmoji_drawings", lambda: chosen)
    build_pairs(tmp_path / "out", DemoOptions("emoji", 5, 1, 0, str(vendor)))
    rows = read_table(tmp_path / "out/val.tsv")
    groups: dict[str, set[str]] = {}
    for caption, _, group in rows:
        groups.setdefault(caption, set()).add(group)
    assert sorted(caption for caption, _, _ in rows) == [
        "banana",
        "banana",
        "bicycle",
        "bicycle",
        "zebra",
    ]  # no ghost: no match
    assert (
        all(len(numbers) == 1 for numbers in groups.values())
        and len(set.union(*groups.values())) == 3
    )
