"""Folders of photographs, and indexes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardpairs.photos.index import Index
from hardpairs.photos.library import Library
from hardpairs.photos.model import open_model
from hardpairs.photos.update import update_index
from tests.helpers import picture

MODEL = "hardpairs-test"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve pictures in two folders."""
    folder = tmp_path / "photos"
    for i in range(12):
        path = folder / ("summer" if i < 6 else "winter") / f"{i:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    return folder


@pytest.fixture
def make_index(photos: Path, checkpoint: Path, tmp_path: Path):
    """Brings an index of ``photos`` up to date."""

    def make(*sources: Path, out: Path = tmp_path / "index", **options):
        options = {"model": MODEL, "pretrained": str(checkpoint), "workers": 0, **options}
        return update_index([str(source) for source in sources or (photos,)], out, **options)

    return make


@pytest.fixture
def library(make_index, tmp_path: Path) -> Library:
    """The index of ``photos`` with its model."""
    make_index()
    folder = tmp_path / "index"
    return Library(folder, open_model(Index.open(folder), None, None, "cpu"))
