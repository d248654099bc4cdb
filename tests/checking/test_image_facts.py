"""What one encoded image is."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from hardpairs.checking.image_facts import ImageFacts, image_facts
from tests.helpers import picture


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def facts(data):
    return image_facts(lambda: data)


def test_an_image():
    data = picture(0, 48)
    expected = ImageFacts(hashlib.sha256(data).digest(), "", "JPEG", "RGB", 48, 48, False)
    assert facts(data) == expected


def test_format_and_mode_are_those_of_the_file_and_the_size_is_the_upright_one():
    exif = Image.Exif()
    exif[0x0112] = 6
    found = facts(encoded(Image.new("LA", (8, 4)), "PNG", exif=exif))
    assert (found.format, found.mode, found.width, found.height) == ("PNG", "LA", 4, 8)
    found = facts(encoded(Image.fromarray(np.array([[0, 65535]], np.uint16)), "TIFF"))
    assert (found.format, found.mode, found.is_plain) == ("TIFF", "I;16", False)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK"])
def test_one_color(mode):
    assert facts(encoded(Image.new(mode, (9, 9)), "TIFF")).is_plain


def test_unreadable_images():
    def missing():
        raise FileNotFoundError("gone")

    assert image_facts(missing) == ImageFacts(reason="missing_file")
    assert facts(b"").reason == "empty_image" and facts(b"<html>").reason == "not_an_image"
    assert facts(b"<html>").digest == hashlib.sha256(b"<html>").digest()
