"""Flickr8k's folder, CLIPSE's copies of it, a JSON object in each line, and tables beside their images."""

import json

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.caption_lists import read_list
from hardpairs.data.opening import open_samples
from tests.helpers import picture

FLICKR = "image,caption\na.jpg,A dog runs .\na.jpg,A dog , wet , runs .\nb.jpg,Two people\n"


@pytest.fixture
def images(tmp_path):
    (tmp_path / "Images").mkdir()
    for i, name in enumerate("ab"):
        (tmp_path / f"Images/{name}.jpg").write_bytes(picture(i))
    return tmp_path


def check(samples):
    """Two captions of one image are its group, and no folder is a class."""
    assert len(samples) == 3 and not samples.labelled.any() and not samples.rejected
    assert samples.group(0) == samples.group(1) != samples.group(2)
    assert samples.image_bytes(1) == picture(0) and samples.image_bytes(2) == picture(1)


def test_flickr8k(images):
    (images / "captions.txt").write_text(FLICKR)
    samples = open_samples(images)
    check(samples)
    assert list(samples.captions) == ["A dog runs .", "A dog , wet , runs .", "Two people"]


@pytest.mark.parametrize(
    ("name", "folder"), [("captions.tsv", "Images"), ("annotations.tsv", "flickr30k-images")]
)
def test_copies_with_tabs(images, name, folder):
    (images / "Images").rename(images / folder)
    rows = [line.split(",", 1) for line in FLICKR.splitlines()]
    lines = [f"{image}\t{caption}\ttrain\n" for image, caption in rows]
    (images / name).write_text("image\tcaption\tsplit\n" + "".join(lines[1:]))
    check(open_samples(images))


def test_rows_of_several_splits_are_refused(images):
    (images / "captions.tsv").write_text("image\tcaption\tsplit\na.jpg\tx\ttrain\nb.jpg\ty\ttest\n")
    with pytest.raises(UserError, match="several splits: test, train") as error:
        open_samples(images)
    assert error.value.code == 2


def test_json_lines(images):
    lines = [{"image": "Images/a.jpg", "captions": ["one", "two"]}]
    lines.append({"image_path": str(images / "Images/b.jpg"), "caption": " three "})
    (images / "index.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    samples = open_samples(images / "index.jsonl")
    assert len(set(samples.groups.tolist())) == 2 and not samples.rejected
    assert list(samples.captions) == ["one", "two", "three"]
    assert samples.image_bytes(2) == picture(1)
    (images / "index.jsonl").write_text('{"image": "a.jpg", "captions": ["one"]}\n{"image": "b"}\n')
    with pytest.raises(UserError, match="an image and its captions") as error:
        open_samples(images / "index.jsonl")
    assert error.value.code == 3 and error.value.where.endswith("line 2")


def test_the_folder_of_a_tables_images(images, tmp_path):
    """It was taken beside a table, and not used."""
    (tmp_path / "t.csv").write_text(f"filepath,title\na.jpg,x\n{images}/Images/b.jpg,y\n")
    samples = open_samples(tmp_path / "t.csv", image_root=images / "Images")
    assert [samples.image_bytes(row) for row in (0, 1)] == [picture(0), picture(1)]
    assert list(samples.keys) == ["a.jpg", f"{images}/Images/b.jpg"]
    with pytest.raises(UserError, match="no such `image_root`"):
        open_samples(tmp_path / "t.csv", image_root=tmp_path / "nowhere")


def test_the_first_of_two_columns_of_one_name(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_text("image,caption,caption\na.jpg,right,other\n")
    assert read_list(path) == (["a.jpg"], ["right"])
