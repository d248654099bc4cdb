"""Every way an image can be wrong has a reason; every mode becomes the same RGB."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hardpairs.data import images, wide_pixels
from hardpairs.data.images import UnreadableImage, decode
from tests.helpers import picture


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_no_cut_of_a_jpeg_is_taken_for_a_picture():
    whole = picture(0)
    pixels = np.asarray(decode(whole))
    for cut in range(0, len(whole) - 2, 7):
        try:
            assert (
                np.asarray(decode(whole[:cut])) == pixels
            ).all()  # only the end marker may be missing
        except UnreadableImage as error:
            assert str(error) in ("empty_image", "not_an_image", "truncated_image")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_image"),
        (b"<html>404</html>", "not_an_image"),
        (b"\xff\xd8\xff", "not_an_image"),
    ],
)
def test_reasons(data, reason):
    with pytest.raises(UnreadableImage, match=reason):
        decode(data)


def test_huge_images_are_refused_by_their_header():
    with pytest.raises(UnreadableImage, match="too_many_pixels"):
        decode(encoded(Image.new("1", (12_000, 12_000))))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16"])
def test_modes_become_rgb(mode):
    image = (
        Image.new(mode, (4, 4))
        if mode == "I;16"
        else Image.new("RGBA", (4, 4), (200, 200, 200, 255)).convert(mode)
    )
    kind = "JPEG" if mode == "CMYK" else "PNG"
    if mode == "PA":
        pytest.skip("no format of ours stores PA")
    assert decode(encoded(image, kind)).mode == "RGB"


def test_sixteen_bits_are_scaled_not_clipped():
    image = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    assert np.asarray(decode(encoded(image)))[0, :, 0].tolist() == [0, 127, 255]


def test_colors_whose_bits_pillow_drops_are_refused():
    """Of 12 bits in 16 the upper 8 would be a nearly black image; of 16 they are the image."""
    for peak, readable in ((4095, False), (65535, True)):
        data = _png_of_sixteen_bit_colors(peak)
        if readable:
            assert np.asarray(decode(data)).max() == 255
        else:
            with pytest.raises(UnreadableImage, match="unsupported_pixels"):
                decode(data)


def _png_of_sixteen_bit_colors(peak: int) -> bytes:
    """A PNG of 4 x 1, from black to the peak: Pillow writes none."""
    row = b"".join(struct.pack(">3H", *[peak * i // 3] * 3) for i in range(4))
    chunks = [(b"IHDR", struct.pack(">2I5B", 4, 1, 16, 2, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_a_scan_is_a_picture():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert (
        np.asarray(decode(encoded(Image.fromarray(pixels), "TIFF", compression="tiff_lzw")))
        == pixels
    ).all()


def test_a_telephones_picture_is_read_where_its_library_is(monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (64, 64), (200, 30, 30))).save(buffer, quality=90)
    assert np.abs(np.asarray(decode(buffer.getvalue()), int) - (200, 30, 30)).max() < 12
    monkeypatch.setattr(images, "can_read_heic", lambda: False)
    with pytest.raises(UnreadableImage, match="heic_without_pillow_heif"):
        decode(buffer.getvalue())


def test_transparency_is_white():
    assert decode(encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0)))).getpixel((0, 0)) == (
        255,
        255,
        255,
    )


def test_orientation_is_applied():
    upright = np.zeros((8, 4, 3), np.uint8)
    upright[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned left; shown turned right
    data = encoded(Image.fromarray(np.rot90(upright).copy()), "PNG", exif=exif)
    assert (np.asarray(decode(data)) == upright).all()


@pytest.mark.parametrize(
    ("size", "fits"),
    [((1, 1), True), ((200, 1), True), ((1, 200), True), ((201, 1), False), ((1, 5000), False)],
)
def test_a_strip_is_no_picture(size, fits):
    data = encoded(Image.new("RGB", size))
    if fits:
        assert decode(data).size == size
    else:
        with pytest.raises(UnreadableImage, match="too_narrow"):
            decode(data)


def test_for_display_a_jpeg_is_decoded_no_larger_than_needed():
    """And still turned upright, and much like the whole one."""
    image = Image.radial_gradient("L").resize((1600, 800)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, exif=exif)
    whole, small = decode(buffer.getvalue()), decode(buffer.getvalue(), for_side=100)
    assert whole.size == (800, 1600) and small.size == (100, 200)
    difference = np.asarray(whole.resize(small.size, Image.Resampling.BOX), int) - np.asarray(
        small, int
    )
    assert np.abs(difference).mean() < 3
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    assert decode(buffer.getvalue(), for_side=100).size == (1600, 800)


class _Rows:
    """Three rows: an image, bytes that are none, and a file that is not there."""

    begun = ()

    def read_ahead(self, rows):
        self.begun = rows

    def image_bytes(self, i):
        if i == 2:
            raise FileNotFoundError("gone")
        return (picture(0), b"<html>")[i]


def test_a_batch_keeps_its_images_and_the_reasons_of_the_others():
    rows = _Rows()
    read = images.read_images(rows, iter([2, 0, 1]), lambda image: image.mode)
    assert rows.begun == [2, 0, 1]  # together, before the first is decoded
    assert read == ([0], ["RGB"], {2: "missing_file", 1: "not_an_image"})
    with pytest.raises(UnreadableImage, match="missing_file"):
        images.read_image(_Rows(), 2)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16", "F", "CMYK", "LA", "1"])
def test_large_images_are_halved_as_wholes_would_be(monkeypatch, mode):
    """By strips, with an odd number of rows and columns."""
    monkeypatch.setattr(wide_pixels, "BLOCK_PIXELS", 6 * 53)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (41, 53, 4)).astype(np.uint8)
    if mode in ("I;16", "F"):
        image = Image.fromarray(pixels[:, :, 0].astype(np.uint16 if mode == "I;16" else np.float32))
    else:
        image = Image.fromarray(pixels, "RGBA").convert("RGB" if mode in "CMYK P 1" else mode)
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, "TIFF" if mode in ("F", "CMYK") else "PNG")
    whole = decode(file.getvalue())
    monkeypatch.setattr(images, "HALVED_PIXELS", 41 * 53 - 1)
    halved = decode(file.getvalue())
    assert halved.size == (27, 21) and halved.tobytes() == whole.reduce(2).tobytes()


def test_a_large_jpeg_is_decoded_at_half_its_size_and_turned_upright(monkeypatch):
    monkeypatch.setattr(images, "HALVED_PIXELS", 63 * 40)
    image = Image.new("RGB", (64, 40), (200, 30, 30))
    image.paste((20, 20, 220), (0, 0, 32, 40))
    exif = image.getexif()
    exif[274] = 6  # turn clockwise
    for kind in ("JPEG", "PNG"):
        file = io.BytesIO()
        image.save(file, kind, exif=exif)
        made = decode(file.getvalue())
        assert made.size == (20, 32)
        assert made.getpixel((10, 2))[2] > 200 and made.getpixel((10, 29))[0] > 180
