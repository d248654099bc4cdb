"""Images and captions of strangers on a page."""

import csv

import pytest
from PIL import Image

from hardpairs.data.images import decode
from hardpairs.data.opening import open_samples
from hardpairs.data.samples import Samples
from hardpairs.pages.album import MAX_CAPTION, Album, shown_text, square_pixels, thumbnail
from tests.helpers import picture


@pytest.fixture
def samples(tmp_path) -> Samples:
    """Two pairs; the image of the second is unreadable."""
    (tmp_path / "0.jpg").write_bytes(picture(0))
    (tmp_path / "1.jpg").write_bytes(b"not an image")
    with open(tmp_path / "pairs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title"])
        writer.writerows([tmp_path / f"{row}.jpg", f"thing {row}"] for row in range(2))
    return open_samples(tmp_path / "pairs.csv")


def test_text_is_cleaned():
    assert shown_text("a\x00b\u202e c\n\nd \ud800") == "a b c d"
    assert len(shown_text("x" * 1000)) == MAX_CAPTION


def test_thumbnails_are_small_and_encoded_anew():
    uri, width, height = thumbnail(decode(picture(0)), side=10)
    assert uri.startswith("data:image/jpeg;base64,") and max(width, height) <= 10


def test_an_unreadable_image_has_no_uri(samples):
    assert Album(samples).image(1).uri == "" and Album(samples).image(0).uri


def test_images_are_whole_and_square(samples, tmp_path):
    Image.new("RGB", (60, 30), "red").save(tmp_path / "0.jpg")
    pixels = square_pixels(samples, 0, 40)
    assert pixels.shape == (40, 40, 3) and (pixels[2] > 250).all()
    assert pixels[20, 20, 0] > 200 > pixels[20, 20, 1]
    assert square_pixels(samples, 1) is None
