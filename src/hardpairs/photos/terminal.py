"""An image in a terminal, by the protocol of kitty or iTerm2, or as colored half blocks."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

import numpy as np
from PIL import Image

from hardpairs.photos.photo_files import jpeg

COLUMNS = 40
PIXELS = 480
"""Longer side of an image that is sent to the terminal."""
_CHUNK = 4096
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def image_protocol(environment: Mapping[str, str]) -> str:
    """Return ``kitty``, ``iterm2`` or ``blocks``, from a terminal's environment variables."""
    program, term = environment.get("TERM_PROGRAM", ""), environment.get("TERM", "")
    if "TMUX" in environment or term.startswith("screen"):
        return "blocks"  # the multiplexer does not pass images on to the terminal
    if "kitty" in term or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    return "blocks"


def image_text(image: Image.Image, protocol: str) -> str:
    """Return the text that shows an image when it is printed."""
    if protocol == "iterm2":
        data = base64.b64encode(jpeg(image, PIXELS)).decode()
        return f"\x1b]1337;File=inline=1;width={COLUMNS};preserveAspectRatio=1:{data}\a"
    return _kitty(image) if protocol == "kitty" else _blocks(image)


def _kitty(image: Image.Image) -> str:
    image.thumbnail((PIXELS, PIXELS))
    data = base64.b64encode(image.convert("RGB").tobytes()).decode()
    chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    first = f"a=T,f=24,s={image.width},v={image.height},c={COLUMNS},"
    return "".join(
        f"\x1b_G{first if i == 0 else ''}m={int(i < len(chunks) - 1)};{chunk}\x1b\\"
        for i, chunk in enumerate(chunks)
    )


def _blocks(image: Image.Image) -> str:
    """Return two pixels a character: an upper half block in one color on a ground of the other."""
    width = min(COLUMNS, image.width)
    height = min(max(2, round(image.height / image.width * width / 2) * 2), 2 * COLUMNS)
    pixels = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    colors = np.asarray(pixels)
    lines = []
    for upper, lower in zip(colors[0::2].tolist(), colors[1::2].tolist(), strict=False):
        cells = (
            "\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*above, *below)
            for above, below in zip(upper, lower, strict=True)
        )
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)


def shown_path(path: str) -> str:
    """Return a file name that cannot move the cursor or change the terminal's title."""
    return _CONTROL.sub("�", path)
