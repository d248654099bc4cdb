"""patches/0206: a CSV caption is the text that stands there."""

from __future__ import annotations

import logging
from pathlib import Path

TABLE = """filepath\ttitle
1.jpg\ta cat
2.jpg\tnull
3.jpg\tNA
4.jpg\t
5.jpg\t \

007\t007
7.jpg\tnan
8.jpg\t"two\ttabs"
9.jpg
"""


def read(file: str) -> tuple[list[str], list[str], list[str]]:
    """Images and captions as OpenCLIP trains on them, and what it logs."""
    from open_clip_train.data import CsvDataset

    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.root.addHandler(handler)
    try:
        data = CsvDataset(file, transforms=None, img_key="filepath", caption_key="title")
    finally:
        logging.root.removeHandler(handler)
    return (
        [str(image) for image in data.images],
        [str(caption) for caption in data.captions],
        messages,
    )


def write(tmp_path: Path) -> str:
    (tmp_path / "pairs.csv").write_text(TABLE)
    return str(tmp_path / "pairs.csv")


def test_captions_stay_text(mended, tmp_path):
    images, captions, messages = mended.call(read, write(tmp_path))
    assert captions == ["a cat", "null", "NA", "007", "nan", "two\ttabs"]
    assert images == ["1.jpg", "2.jpg", "3.jpg", "007", "7.jpg", "8.jpg"]
    assert len(messages) == 1 and "3 of 9 rows have no caption" in messages[0]


def test_numbers_stay_text(mended, tmp_path):
    (tmp_path / "numbers.csv").write_text("filepath\ttitle\n001\t1.50\n002\t2e3\n")
    assert mended.call(read, str(tmp_path / "numbers.csv")) == (["001", "002"], ["1.50", "2e3"], [])


def test_unmended(plain, tmp_path):
    _, captions, messages = plain.call(read, write(tmp_path))
    assert captions.count("nan") == 5 and messages == []
