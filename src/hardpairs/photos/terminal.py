"""A picture in a terminal: kitty's or iTerm2's own pictures where the terminal has them, else coloured half blocks."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

from PIL import Image

from hardpairs.photos.pictures import jpeg

COLUMNS = 40
PIXELS = 480
_CHUNK = 4096
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def kind(environment: Mapping[str, str]) -> str:
    """``kitty``, ``iterm2`` or ``blocks``, from what terminals say of themselves."""
    program, term = environment.get("TERM_PROGRAM", ""), environment.get("TERM", "")
    if "TMUX" in environment or term.startswith("screen"):
        return "blocks"  # between us and the terminal, and it does not pass pictures on
    if "kitty" in term or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    return "blocks"


def picture_text(image: Image.Image, how: str) -> str:
    """What shows the picture, to be printed."""
    if how == "iterm2":
        data = base64.b64encode(jpeg(image, PIXELS)).decode()
        return f"\x1b]1337;File=inline=1;width={COLUMNS};preserveAspectRatio=1:{data}\a"
    return _kitty(image) if how == "kitty" else _blocks(image)


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
    """Two pixels a character: the upper half block in the colour of the upper one, on the colour of the lower one."""
    width = min(COLUMNS, image.width)
    height = max(2, round(image.height / image.width * width / 2) * 2)
    pixels = image.convert("RGB").resize(
        (width, min(height, 2 * COLUMNS)), Image.Resampling.LANCZOS
    )
    get = pixels.load()
    lines = []
    for y in range(0, pixels.height - 1, 2):
        cells = []
        for x in range(pixels.width):
            upper, lower = get[x, y], get[x, y + 1]
            cells.append("\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*upper, *lower))
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)


def shown_path(path: str) -> str:
    """A file name that cannot move the cursor or change the terminal's title."""
    return _CONTROL.sub("�", path)
