"""Files that say what is right, against the ids of a data set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.data.relevance import open_relevance
from hardpairs.data.samples import Samples
from tests.helpers import picture


def write_pairs(folder: Path, *, ids: bool = True) -> Samples:
    """Three images with two captions each: images 10 to 12, captions 100 to 105."""
    lines = ["filepath,title" + (",image_id,caption_id" if ids else "")]
    for i in range(6):
        (folder / f"{i // 2}.jpg").write_bytes(picture(i // 2))
        more = f",{10 + i // 2},{100 + i}" if ids else ""
        lines.append(f"{folder}/{i // 2}.jpg,picture number {i}{more}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    return open_samples(folder / "pairs.csv")


TO_IMAGE = {"100": [10, 11], "103": [11], "105": [12, 10]}
TO_TEXT = {"10": [100, 101], "12": [104]}
"""Not the other way round: the files of ECCV Caption have queries of their own."""


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_both_directions(tmp_path: Path) -> None:
    samples = write_pairs(tmp_path)
    files = [write(tmp_path / "c.json", TO_IMAGE), write(tmp_path / "i.json", TO_TEXT)]
    found = open_relevance(files, samples)
    assert found.image_of.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.text_of.tolist() == list(range(6)) and not found.is_reversed
    expected = [[1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert found.to_image.toarray().tolist() == expected
    assert found.to_text.toarray().tolist() == [[1, 1, 0, 0, 0, 0], [0] * 6, [0, 0, 0, 0, 1, 0]]


def test_one_file_is_both_ways(tmp_path: Path) -> None:
    found = open_relevance([write(tmp_path / "c.json", TO_IMAGE)], write_pairs(tmp_path))
    assert found.is_reversed and (found.to_text.toarray() == found.to_image.toarray().T).all()


def test_a_few_right_items_that_the_data_lacks_are_counted(tmp_path: Path) -> None:
    """ECCV Caption names two captions besides the five of each image."""
    many = {str(100 + i): [10, 11, 12] for i in range(6)}
    samples, path = write_pairs(tmp_path), tmp_path / "c.json"
    with pytest.raises(UserError, match="1 images of the relevance are not in the data"):
        open_relevance([write(path, {**many, "105": [10, 11, 999]})], samples)
    lines = [f"{tmp_path}/0.jpg,x,{20 + i},{200 + i}" for i in range(100)]
    with open(tmp_path / "pairs.csv", "a") as file:
        file.write("\n".join(lines) + "\n")
    many |= {str(200 + i): [20 + i] for i in range(100)}
    found = open_relevance(
        [write(path, {**many, "105": [10, 999]})], open_samples(tmp_path / "pairs.csv")
    )
    assert found.absent_images.sum() == found.absent_images[5] == 1
    assert found.to_image.toarray()[5, :3].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (TO_TEXT, 2, "the captions of each image"),
        ({"100": [10], "999": [10]}, 4, "1 captions of the relevance are not in the data"),
        ({"100": [99]}, 4, "1 images of the relevance are not in the data"),
        ([1], 3, "not lists of ids"),
        ({}, 3, "not lists of ids"),
    ],
)
def test_wrong_files(tmp_path: Path, content: object, code: int, says: str) -> None:
    with pytest.raises(UserError) as error:
        open_relevance([write(tmp_path / "x.json", content)], write_pairs(tmp_path))
    assert error.value.code == code and says in error.value.text()


def test_data_without_ids_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    file = write(tmp_path / "c.json", TO_IMAGE)
    with pytest.raises(UserError, match="does not say the ids") as error:
        open_relevance([file], write_pairs(tmp_path, ids=False))
    assert error.value.code == 3 and "caption_id" in error.value.fix
    for files in ([tmp_path / "nowhere.json"], [file] * 3):
        with pytest.raises(UserError) as error:
            open_relevance(files, write_pairs(tmp_path))
        assert error.value.code == 2
