"""A library: an index that is opened again when it changes, and images that visitors give."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hardpairs.data.images import UnreadableImage, decode
from hardpairs.photos.library import Query, QueryImages, Recent, Thumbnails
from hardpairs.photos.search import image_vector
from tests.helpers import picture


def test_the_last_used_values_are_kept():
    recent = Recent[int](2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert [recent.get(name) for name in "abc"] == [1, None, 3]


def test_a_search_shows_equal_images_once_and_leaves_out_the_one_asked_for(
    library, photos, make_index
):
    shutil.copy(photos / "summer/00.jpg", photos / "copy.jpg")
    make_index()
    given, paths = QueryImages([library]), list(library.index().photos.paths)
    asked = library.index().ids[paths.index(str(photos / "summer/03.jpg"))]
    index, results = library.search(Query(like=asked), given, 20)
    names = [Path(index.photos.paths[result.row]).name for result in results]
    assert len(index) == 13 and len(results) == 11 and "03.jpg" not in names
    assert len({index.ids[result.row] for result in results}) == 11
    assert len(library.search(Query("picture"), given, 4)[1]) == 4


def test_given_images_are_searched_for_and_shown_small(library):
    given, data = QueryImages([library]), picture(5, size=700)
    name = given.add(data)
    _, results = library.search(Query(image=name), given, 1)
    expected = image_vector(library.encoders, decode(data))
    np.testing.assert_array_equal(given.vector(name, library), expected)
    scores = np.asarray(library.index().embeddings) @ expected
    assert results[0].row == scores.argmax()
    assert Image.open(io.BytesIO(given.thumbnail(name))).size == (480, 480)
    assert given.vector("unknown", library) is given.thumbnail("unknown") is None
    with pytest.raises(UnreadableImage, match="not_an_image"):
        given.add(b"<html>")


def test_small_copies_are_those_of_the_indexed_content(library, photos):
    small, name = Thumbnails([library]), library.index().ids[0]
    made = small.get(name, 16)
    assert Image.open(io.BytesIO(made)).size == (16, 16) and small.get(name, 16) is made
    assert small.get("0" * 16, 16) is None
    (photos / "summer/00.jpg").write_bytes(picture(600))
    assert small.get(name, 16) is small.get(name, 8) is None


def test_a_new_index_is_taken_and_an_unusable_one_is_told(library, photos, make_index):
    (photos / "new.jpg").write_bytes(picture(50))
    make_index()
    assert len(library.index()) == 13 and library.warning == ""
    shutil.rmtree(library.folder)
    assert len(library.index()) == 13 and "The index has changed" in library.warning
