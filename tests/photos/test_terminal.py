"""Images and paths as a terminal shows them."""

from __future__ import annotations

import io

from PIL import Image

from hardpairs.photos.terminal import image_protocol, image_text, shown_path
from tests.helpers import picture


def test_kinds_of_terminal():
    assert (
        image_protocol({"TERM": "xterm-kitty"}) == "kitty"
        and image_protocol({"TERM_PROGRAM": "iTerm.app"}) == "iterm2"
        and image_protocol({}) == "blocks"
    )
    assert image_protocol({"TERM": "xterm-kitty", "TMUX": "x"}) == "blocks"
    image = Image.open(io.BytesIO(picture(3)))
    assert image_text(image.copy(), "iterm2").startswith("\x1b]1337;File=inline=1")
    kitty = image_text(image.copy(), "kitty")
    assert kitty.count("\x1b_G") == kitty.count("\x1b\\") > 0 and "s=32,v=32" in kitty
    lines = image_text(Image.new("RGB", (80, 40), (255, 0, 0)), "blocks").splitlines()
    assert (
        len(lines) == 10 and lines[0].count("▀") == 40 and "38;2;255;0;0;48;2;255;0;0" in lines[0]
    )
    assert "\x1b" not in shown_path("evil\x1b]0;title\x07.jpg")
