"""A table with every kind of row that a check tells apart."""

import io
from pathlib import Path

from PIL import Image

from hardpairs.data.opening import open_samples
from tests.helpers import picture


def write_table(folder: Path) -> Path:
    """Ten rows; six are usable."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20), "gray").save(buffer, "PNG")
    files = {"0.jpg": picture(0), "1.jpg": picture(1), "copy.jpg": picture(0)}
    files |= {"plain.png": buffer.getvalue(), "html.jpg": b"<html>", "empty.jpg": b""}
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    rows = [
        ("0.jpg", "a red fox", "fox"),
        ("0.jpg", "a red fox", "fox"),  # the row before
        ("1.jpg", "a red fox", ""),  # its caption, another image
        ("copy.jpg", "ein Fuchs", "fox"),  # its bytes under another name
        ("plain.png", "рыжая лиса", ""),
        ("1.jpg", "IMG_1.jpg", "owl"),
        ("1.jpg", "", ""),
        ("html.jpg", "a page", ""),
        ("empty.jpg", "an empty file", ""),
        ("gone.jpg", "no file", ""),
    ]
    lines = (f"{folder}/{name},{caption},{group}" for name, caption, group in rows)
    (folder / "t.csv").write_text("\n".join(["filepath,title,group", *lines]), encoding="utf-8")
    return folder / "t.csv"


def open_table(folder: Path):
    return open_samples(write_table(folder))
