"""Folders of images with Hugging Face's metadata."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from tests.helpers import picture

ROWS = {"file_name": ["b.jpg", "in/a.jpg", "none.jpg"], "text": ["a boat", None, "a sail"]}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for i, name in enumerate(("b.jpg", "in/a.jpg", "left_out.jpg")):
        (tmp_path / name).write_bytes(picture(i))
    return tmp_path


def test_each_kind_of_file_is_read(folder, caplog):
    written = {
        "metadata.parquet": lambda path: pq.write_table(pa.table(ROWS), path),
        "metadata.csv": lambda path: path.write_text(
            "file_name,text\nb.jpg,a boat\nin/a.jpg,\nnone.jpg,a sail\n"
        ),
        "metadata.jsonl": lambda path: path.write_text(
            '{"file_name": "b.jpg", "text": "a boat"}\n{"file_name": "in/a.jpg", "text": null}\n\n'
            '{"file_name": "none.jpg", "text": "a sail"}\n'
        ),
    }
    for name, write in written.items():
        write(folder / name)
        samples = open_samples(folder)
        assert list(samples.captions) == ["a boat", "", "a sail"]
        assert samples.rejected == {1: "empty_caption", 2: "missing_image"}
        assert samples.image_bytes(0) == picture(0) and samples.image_bytes(1) == picture(1)
        (folder / name).unlink()
    assert "1 images are not in the metadata" in caplog.text


def test_a_file_in_each_folder_and_columns_by_name(folder):
    (folder / "in/metadata.csv").write_text("file_name,words,label\na.jpg,a cup,7\n")
    with pytest.raises(UserError, match="no caption; there are: file_name, words, label") as error:
        open_samples(folder)
    assert error.value.code == 3 and "`caption_key`" in error.value.fix
    samples = open_samples(folder, caption_key="words", group_key="label")
    assert list(samples.keys) == ["in/a.jpg#0"] and list(samples.captions) == ["a cup"]
    assert samples.labelled.all() and samples.image_bytes(0) == picture(1)


def test_several_captions_of_an_image(folder):
    (folder / "metadata.jsonl").write_text('{"file_name": "b.jpg", "captions": ["one", "two"]}\n')
    samples = open_samples(folder)
    assert list(samples.captions) == ["one", "two"] and samples.images[0] == samples.images[1]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("not json\n", "not readable metadata"),
        ("3\n", "no JSON object"),
        ('{"text": "a"}\n', "no file_name"),
        ('{"file_name": "../b.jpg", "text": "a"}\n', "leaves the image folder"),
        ("\n", "has no rows"),
    ],
)
def test_what_is_refused(folder, content, says):
    (folder / "metadata.jsonl").write_text(content)
    with pytest.raises(UserError, match=says) as error:
        open_samples(folder)
    assert error.value.code == 3


def test_parts_are_not_mixed(folder):
    for part in ("train", "test"):
        (folder / part).mkdir()
        (folder / part / "metadata.csv").write_text("file_name,text\na.jpg,a cup\n")
    with pytest.raises(UserError, match="several parts: test, train") as error:
        open_samples(folder)
    assert error.value.code == 2
