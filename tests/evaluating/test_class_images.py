"""Images with a class each, in folders and in shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.evaluating.class_images import open_classes
from tests.data.test_clip_benchmark import write_classes, write_retrieval
from tests.helpers import picture, write_tar


def test_classes_are_folders(tmp_path: Path) -> None:
    for number, name in enumerate(("dog", "cat", "dog")):
        path = tmp_path / name / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(number))
    images = open_classes(str(tmp_path))
    assert images.names == images.classes == ["cat", "dog"] and images.are_folders
    assert images.labels.tolist() == [0, 1, 1]
    assert images.labels_among(["ant", "cat", "dog"]).tolist() == [1, 2, 2]
    assert images.image(2).size == (32, 32)


def test_classes_of_shards(tmp_path: Path) -> None:
    images = open_classes(str(write_classes(tmp_path)))
    assert images.names == ["number 0", "number 1", "number 2"] and not images.are_folders
    assert images.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert (np.asarray(images.image(0)) == np.asarray(images.image(3))).all()
    (tmp_path / "classnames.txt").write_text("crane\ncrane\nbox\n")  # as ImageNet has it
    images = open_classes(str(tmp_path))
    assert len(set(images.classes)) == 3
    assert images.labels_among(images.classes[::-1]).tolist() == [2, 1, 0, 2, 1, 0]


def test_wrong_folders(tmp_path: Path) -> None:
    (tmp_path / "one/cat").mkdir(parents=True)
    (tmp_path / "one/cat/0.jpg").write_bytes(picture(0))
    write_retrieval(tmp_path / "pairs")
    write_classes(tmp_path / "labels")
    write_tar(tmp_path / "labels/test/0.tar", {"a": {"jpg": picture(0), "cls": b"3"}})
    for name, code, says in (
        ("nowhere", 2, "no such folder"),
        ("one", 3, "two classes or more"),
        ("pairs", 3, "for retrieval, not for classification"),
        ("labels", 3, "the label '3'"),
    ):
        with pytest.raises(UserError) as error:
            open_classes(str(tmp_path / name))
        assert error.value.code == code and says in error.value.text()
