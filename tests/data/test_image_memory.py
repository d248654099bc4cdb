"""Memory of decoding, measured in a process of its own for each image: the estimate holds, and so does the promise."""

import ctypes
import io
import os

import numpy as np
import pytest
from PIL import Image

from hardpairs.data.image_memory import peak_bytes
from hardpairs.data.images import HALVED_PIXELS, MAX_MEMORY, UnreadableImage, decode

PROMISED = 300
"""MB over idle, for any image."""
USUAL = (
    *(("JPEG", "RGB", {"quality": 40}, 17), ("PNG", "RGBA", {}, 17), ("TIFF", "F", {}, 17)),
    ("JPEG", "RGB", {"quality": 40, "progressive": True, "subsampling": 0}, 10),
    *(("PNG", "P", {}, 10), ("WEBP", "RGB", {}, 5)),
)
LARGEST = (
    *(("JPEG", "RGB", {"quality": 40}, 63), ("JPEG", "CMYK", {"quality": 40}, 63)),
    ("JPEG", "RGB", {"quality": 40, "progressive": True, "subsampling": 0}, 28),
    ("JPEG", "RGB", {"quality": 40, "progressive": True, "subsampling": 2}, 45),
    *(("PNG", "RGB", {}, 50), ("PNG", "RGBA", {}, 50), ("PNG", "L", {}, 63), ("PNG", "1", {}, 63)),
    *(
        ("PNG", "P", {}, 63),
        ("PNG", "I;16", {}, 63),
        ("WEBP", "RGBA", {}, 14),
        ("GIF", "P", {}, 63),
    ),
    *(("WEBP", "RGB", {"lossless": True}, 14), ("BMP", "RGB", {}, 35), ("TIFF", "F", {}, 30)),
    *(("TIFF", kind, {"compression": "tiff_lzw"}, 35) for kind in ("RGB", "RGBA", "I", "CMYK")),
)


def image_of(mode: str, megapixels: float) -> Image.Image:
    width = int((megapixels * 1e6 * 4 / 3) ** 0.5)
    size = (width, int(width * 0.75))
    if mode in ("I;16", "I", "F"):
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray(np.tile(np.arange(size[0]) % 60_000, (size[1], 1)).astype(dtype))
    small = Image.effect_noise((64, 48), 80).convert("RGBA" if mode == "RGBA" else "RGB")
    return small.resize(size, Image.Resampling.NEAREST).convert(mode)


def saved(kind: str, mode: str, options: dict, megapixels: float) -> bytes:
    file = io.BytesIO()
    image_of(mode, megapixels).save(file, kind, **options)
    return file.getvalue()


def in_megabytes(name: str) -> float:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))


def measured(data: bytes) -> tuple[float, str]:
    """MB that decoding takes over what the process had, and the size of the image or the reason."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free in the heap would be used unseen
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
            before = in_megabytes("VmRSS")
            try:
                result = str(decode(data).size)
            except UnreadableImage as error:
                result = str(error)
            os.write(write, f"{in_megabytes('VmHWM') - before} {result}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with open(read, "rb") as file:
        grown, _, result = file.read().decode().partition(" ")
    return float(grown) + len(data) / 1e6, result


def check(kind: str, mode: str, options: dict, megapixels: float) -> None:
    data = saved(kind, mode, options, megapixels)
    image = Image.open(io.BytesIO(data))
    shrink = 2 if image.width * image.height > HALVED_PIXELS else 1
    expected = tuple((side + shrink - 1) // shrink for side in image.size)
    grown, result = measured(data)
    assert result == str(expected)
    assert grown < PROMISED, (grown, peak_bytes(image, len(data), shrink) / 1e6)
    # Strips, and small buffers of Pillow and libwebp.
    assert grown < 1.1 * peak_bytes(image, len(data), shrink) / 1e6 + 20


@pytest.mark.parametrize(("kind", "mode", "options", "megapixels"), USUAL)
def test_an_image_takes_what_is_said_of_it(kind, mode, options, megapixels):
    check(kind, mode, options, megapixels)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "mode", "options", "megapixels"), LARGEST)
def test_the_largest_images_keep_the_promise(kind, mode, options, megapixels):
    check(kind, mode, options, megapixels)


def claiming(kind: str, width: int, height: int) -> bytes:
    """A small file whose header says that the image is large."""
    data = bytearray(saved(kind, "RGB", {"progressive": True, "subsampling": 0}, 0.01))
    if kind == "JPEG":
        place, order, sides = data.index(b"\xff\xc2") + 5, "big", (height, width)
    else:
        place, order, sides = data.index(b"\x9d\x01\x2a") + 3, "little", (width, height)
    data[place : place + 4] = b"".join(side.to_bytes(2, order) for side in sides)
    return bytes(data)


@pytest.mark.parametrize("kind", ["WEBP", "JPEG"])
def test_what_would_take_more_is_refused_from_its_header(kind):
    data = claiming(kind, 8000, 6000)
    assert peak_bytes(Image.open(io.BytesIO(data)), len(data), 2) > MAX_MEMORY
    grown, result = measured(data)
    assert result == "too_many_pixels" and grown < 30
