"""patches/0215: an image of a CSV that cannot be read is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers import picture

DAMAGE = {"missing": None, "empty": b"", "html": b"<html>", "cut": picture(3)[:-200]}


def load(file: str, workers: int) -> int:
    """Number of batches of a table."""
    from open_clip_train.data import CsvDataset
    from torch.utils.data import DataLoader
    from torchvision.transforms import Compose, PILToTensor, Resize

    transform = Compose([Resize((8, 8)), PILToTensor()])
    data = CsvDataset(file, transform, "filepath", "title", tokenizer=lambda texts: [len(texts)])
    return sum(1 for _ in DataLoader(data, 2, num_workers=workers))


def table(folder: Path, damage: str | None) -> str:
    for i in range(4):
        (folder / f"{i}.jpg").write_bytes(picture(i))
    if damage is not None and DAMAGE[damage] is None:
        (folder / "3.jpg").unlink()
    elif damage is not None:
        (folder / "3.jpg").write_bytes(DAMAGE[damage] or b"")
    rows = "".join(f"{folder}/{i}.jpg\tnumber {i}\n" for i in range(4))
    (folder / "pairs.csv").write_text("filepath\ttitle\n" + rows)
    return str(folder / "pairs.csv")


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_image_that_cannot_be_read_is_named(mended, tmp_path, damage):
    file = table(tmp_path, damage)
    for workers in (0, 1):
        says = re.escape(f"{tmp_path}/3.jpg cannot be read as an image")
        with pytest.raises(ValueError, match=says):
            mended.call(load, file, workers)


def test_images_that_can_be_read(mended, tmp_path):
    assert mended.call(load, table(tmp_path, None), 0) == 2


def test_unmended(plain, tmp_path):
    with pytest.raises(OSError, match="truncated") as error:
        plain.call(load, table(tmp_path, "cut"), 1)
    assert "3.jpg" not in str(error.value)
