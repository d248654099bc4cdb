"""The card of a data set and its contact sheet."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from hardpairs.catalog.sets import DataSet

CELL, TEXT_HEIGHT, COLUMNS = 128, 20, 10


def contact_sheet(images: Sequence[tuple[bytes, str]]) -> bytes:
    """Return a PNG file that shows images above their captions.

    Args:
        images: PNG files with their captions.
    """
    height = -(-len(images) // COLUMNS) * (CELL + TEXT_HEIGHT)
    sheet = Image.new("RGB", (COLUMNS * CELL, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, (content, caption) in enumerate(images):
        left, top = number % COLUMNS * CELL, number // COLUMNS * (CELL + TEXT_HEIGHT)
        image = Image.open(io.BytesIO(content)).convert("RGB")
        image.thumbnail((CELL - 8, CELL - 8))
        sheet.paste(image, (left + (CELL - image.width) // 2, top + (CELL - image.height) // 2))
        pen.text((left + 4, top + CELL), shortened(caption, font), fill="#444", font=font)
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()


def shortened(caption: str, font: Any) -> str:
    """Return as much of a caption as is as wide as a cell."""
    while font.getlength(caption) > CELL - 8:
        caption = caption.rstrip("…")[:-1] + "…"
    return caption


def data_card(data: DataSet, facts: Mapping[str, Any], notices: Mapping[str, str]) -> str:
    """Return the text of README.md.

    Args:
        data: The data set.
        facts: What its manifest says.
        notices: Files of licenses and copyright by name.
    """
    pairs = sum(part["pairs"] for part in facts["parts"].values())
    return "\n".join(
        [
            f"# {data.title}",
            "",
            f"{pairs:,} pairs of an image and a caption, {facts['side']} x {facts['side']} pixels, "
            f"made by `hardpairs data get {data.name}`.",
            "",
            "![Some of the pairs](contact.png)",
            "",
            "| part | pairs | captions | groups | things | fingerprint |",
            "|---|---|---|---|---|---|",
            *(
                f"| {name} | {part['pairs']:,} | {part['captions']:,} | {part['groups']:,} | "
                f"{part['things']:,} | `{part['fingerprint'][:16]}` |"
                for name, part in facts["parts"].items()
            ),
            "",
            "Pairs of one group are known positives of each other. Pairs of one thing, and pairs "
            "with the same image, are in one part.",
            "",
            "## From",
            "",
            *(
                f"- {package.registry}: `{package.name}` {package.version}, "
                f"sha256 `{package.sha256}`"
                for package in data.packages
            ),
            "",
            "## Licenses",
            "",
            *(f"- {name}: {count:,} pairs" for name, count in facts["licenses"].items()),
            "",
            f"Texts and authors: {', '.join(f'[{name}](licenses/{name})' for name in notices)}. "
            "The column `license` names the license of each pair.",
            "",
            "## Left out",
            "",
            *(f"- {count:,} drawings: {name}" for name, count in facts["dropped"].items() if count),
            "",
        ]
    )
