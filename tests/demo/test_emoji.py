"""Drawings of emoji: names, vendors and pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hardpairs.core.errors import Exit, UserError
from hardpairs.demo import emoji, photograph


def test_names_are_official_distinct_and_plain() -> None:
    drawings = emoji.openmoji_drawings()
    captions = {drawing.caption for drawing in drawings}
    assert len(captions) == len(drawings)
    assert {
        "bullet train",
        "man mechanic",
        "flag of Norway",
        "flag of Scotland",
        "keycap asterisk",
        "A button blood type",
    } <= captions
    assert not any(set(caption) & set("_:()!\t\n") or "  " in caption for caption in captions)
    assert len(emoji.openmoji_drawings(skin_tones=True)) > 3900


def test_color_hidden_under_transparency_stays_hidden(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (64, 64), (255, 0, 0, 0))  # red, but invisible
    picture.paste((0, 0, 255, 255), (24, 24, 40, 40))
    picture.save(tmp_path / "a.png")
    sticker = photograph.cut_out(emoji.rasterize(tmp_path / "a.png"))
    pixels = np.asarray(sticker, np.int32)
    assert (pixels[..., 0] <= pixels[..., 3] + 1).all()  # premultiplied
    assert pixels[0, 0].tolist() == [0, 0, 0, 0]
    assert (pixels[..., 0] > pixels[..., 2] + 8).sum() == 0  # nothing reddish


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "LA", "P", "L"])
def test_png_modes(tmp_path: Path, mode: str) -> None:
    Image.new("RGBA", (32, 32), (9, 90, 200, 255)).convert("L" if mode == "LA" else mode).convert(
        mode
    ).save(tmp_path / "a.png")
    assert emoji.rasterize(tmp_path / "a.png").mode == "RGBa"


def test_a_folder_of_no_known_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"emoji\.json") as caught:
        emoji.vendor_drawings(tmp_path)
    assert caught.value.code == Exit.BAD_INPUT
    (tmp_path / "names.json").write_text('{"1f34c.png": "banana"}')
    with pytest.raises(UserError, match=r"1f34c\.png is named but not there"):
        emoji.vendor_drawings(tmp_path)
    (tmp_path / "names.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        emoji.vendor_drawings(tmp_path)
