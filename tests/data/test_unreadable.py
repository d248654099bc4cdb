"""Unreadable images: each counts once, the first are named, too many stop the work."""

import logging

import numpy as np
import pytest

from hardpairs.core.errors import Exit, UserError
from hardpairs.data.opening import open_samples
from hardpairs.data.unreadable import (
    HANDFUL,
    NAMED,
    UnreadableImages,
    check_images_are_there,
)


@pytest.fixture
def samples(tmp_path):
    """Two hundred rows, two captions for each of one hundred images; row 0 has none."""
    lines = [f"{row // 2}.jpg\t{'' if row == 0 else f'caption {row}'}" for row in range(200)]
    (tmp_path / "t.tsv").write_text("\n".join(["filepath\ttitle", *lines]) + "\n")
    return open_samples(tmp_path / "t.tsv")


def test_an_image_counts_once(samples):
    unreadable = UnreadableImages(samples, 0.05)
    unreadable.add({row: "missing_file" for row in range(10)})  # five images
    unreadable.add([(row, "missing_file") for row in range(1, 10)])
    assert len(unreadable) == 5
    with pytest.raises(UserError, match=r"6 of 100 images .* more than 0\.05") as error:
        unreadable.add({198: "not_an_image"})
    assert error.value.code == Exit.BAD_INPUT
    assert error.value.where == "0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, 99.jpg"
    assert error.value.why == "missing_file 5, not_an_image 1"
    assert "`max_bad_fraction`" in error.value.fix


def test_a_handful_is_left_out_of_any_data(samples):
    unreadable = UnreadableImages(samples, 0.0)
    unreadable.add({2 * i: "empty_image" for i in range(HANDFUL)})
    with pytest.raises(UserError):
        unreadable.add({2 * HANDFUL: "empty_image"})


def test_share_and_tolerance_of_a_run(samples):
    unreadable = UnreadableImages(samples, 0.1)
    rows = np.arange(0, 16, 2)
    unreadable.add({int(row): "empty_image" for row in rows}, of=16, tolerated=8)
    with pytest.raises(UserError, match="8 of 16 images"):
        unreadable.add({}, of=16, tolerated=4)


def test_the_first_are_named_in_the_log(samples, caplog):
    unreadable = UnreadableImages(samples, log=True)
    with caplog.at_level(logging.WARNING):
        unreadable.add({row: "missing_file" for row in range(200)})
    assert len(caplog.messages) == NAMED
    assert caplog.messages[0] == "Left out: 0.jpg (missing_file)."


def test_absent_images_are_told_before_the_work_starts(samples, tmp_path, caplog):
    with pytest.raises(UserError, match="199 of 199 images that were looked for are not") as error:
        check_images_are_there(samples, 0.01)
    assert error.value.code == Exit.BAD_INPUT and error.value.where == "0.jpg, 1.jpg, 1.jpg"
    assert "`image_root`" in error.value.fix
    check_images_are_there(samples, 1.0)  # as many as there are may be unreadable
    for number in range(99):
        (tmp_path / f"{number}.jpg").write_bytes(b"")
    beside = open_samples(tmp_path / "t.tsv")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        check_images_are_there(beside, 0.01)
    assert f"2 of 199 images that were looked for are not there: {tmp_path}/99.jpg" in caplog.text
