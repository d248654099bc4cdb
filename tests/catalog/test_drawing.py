"""Drawings become squares on white; what does not come out is told apart."""

import io

import numpy as np
import pytest
from PIL import Image

from hardpairs.catalog import drawing
from hardpairs.catalog.drawing import check_renderer, draw
from hardpairs.core.errors import UserError
from tests.catalog.made import png

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}">{2}</svg>'
BLACK = '<rect width="{0}" height="{1}"/>'


def pixels(drawn):
    assert drawn[1] == ""
    return np.asarray(Image.open(io.BytesIO(drawn[0])))


def test_a_wide_drawing_is_padded_with_white_above_and_below():
    image = pixels(draw(SVG.format(40, 20, BLACK.format(40, 20)).encode(), 16))
    assert image.shape == (16, 16)  # gray
    assert (image[4:12] == 0).all() and (image[:4] == 255).all() and (image[12:] == 255).all()


def test_a_png_loses_its_empty_margin_and_keeps_its_color():
    image = pixels(draw(png("#ff0000"), 16))
    assert image.shape == (16, 16, 3)
    assert (image[5:11, :, 0] == 255).all() and (image[5:11, 2:14, 1] == 0).all()


def test_no_color_under_alpha_zero_is_seen():
    page = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    page.paste((0, 0, 0, 255), (0, 0, 4, 8))
    out = io.BytesIO()
    page.save(out, "PNG")
    image = pixels(draw(out.getvalue(), 5))
    assert image.ndim == 2  # no red at the edge


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (SVG.format(8, 8, ""), "comes out white"),
        (SVG.format(8, 8, '<rect width="8" height="8" fill="#fff"/>'), "comes out white"),
        (SVG.format(8, 8, BLACK.format(8, 8)), "comes out as one color"),
        ("<svg", "cannot be drawn"),
    ],
)
def test_what_does_not_come_out(content, reason):
    assert draw(content.encode(), 8) == (None, reason)


def test_huge_images_are_not_opened(monkeypatch):
    monkeypatch.setattr(drawing, "MAX_PIXELS", 100)
    assert draw(png("red"), 8) == (None, "larger than 0 megapixels")


def test_without_a_renderer(monkeypatch):
    check_renderer()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="resvg_py") as error:
        check_renderer()
    assert error.value.code == 2
