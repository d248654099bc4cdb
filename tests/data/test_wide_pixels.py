"""Gray pixels of more than 8 bits: one rule, and no black image in silence."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from hardpairs.data.images import UnreadableImage, decode

RAMP = np.arange(256)[None].repeat(4, 0)


def gray(pixels, kind="TIFF", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    out = np.asarray(decode(buffer.getvalue()))
    assert (out == out[:, :, :1]).all()
    return out[:, :, 0]


@pytest.mark.parametrize(
    "pixels",
    [
        (RAMP * 257).astype(np.uint16),
        RAMP.astype(np.uint16),  # 8 bits in 16
        (RAMP * 4095 // 255).astype(np.uint16),  # 12 bits in 16
        (RAMP * 1_000_000).astype(np.int32),
        (RAMP - 1000).astype(np.int32),  # as of computed tomography
        (RAMP / 255).astype(np.float32),
        (RAMP / 127.5 - 1).astype(np.float32),
        RAMP.astype(np.float32),
        (RAMP / 255e6).astype(np.float32),
        (RAMP * 1e30).astype(np.float32),
    ],
)
def test_a_ramp_stays_a_ramp(pixels):
    found = gray(pixels).astype(int)
    scaled = RAMP * (found.max() / 255)  # 28 bits hold a little more than 255,000,000
    assert np.abs(found - scaled).max() <= 1 and found.max() > 240


@pytest.mark.parametrize(("peak", "white"), [(255, 255), (256, 63), (1000, 249), (30_000, 116)])
def test_the_depth_is_the_even_number_of_bits_that_holds_the_largest(peak, white):
    pixels = np.array([[0, peak]], np.uint16)
    assert gray(pixels).tolist() == gray(pixels, "PNG").tolist() == [[0, white]]


def test_unsigned_integers_of_32_bits():
    """Pillow reads them as signed ones; it writes none, so the tag is changed."""
    pixels = (RAMP.astype(np.uint32) * 16843009).view(np.int32)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "TIFF")
    signed, unsigned = (struct.pack("<HHIHH", 339, 3, 1, kind, 0) for kind in (2, 1))
    assert data.getvalue().count(signed) == 1
    found = np.asarray(decode(data.getvalue().replace(signed, unsigned)))
    assert (found[:, :, 0] == RAMP).all()


def test_white_is_zero():
    pixels = (RAMP * 257).astype(np.uint16)
    assert (gray(pixels, tiffinfo={262: 0}) == 255 - RAMP).all()


def test_a_floating_image_of_few_values_keeps_its_range():
    assert gray(np.array([[0.2, 0.4]], np.float32)).tolist() == [[51, 102]]
    assert gray(np.full((2, 2), 7, np.float32)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite_have_a_reason(value):
    with pytest.raises(UnreadableImage, match="unsupported_pixels"):
        gray(np.array([[0, value]], np.float32))


def test_large_images_are_converted_in_blocks():
    pixels = np.arange(700, dtype=np.uint16)[:, None].repeat(8, 1) * 93
    assert (gray(pixels) == np.floor(pixels * (255 / 65535))).all()
