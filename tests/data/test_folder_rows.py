"""Folders of images: classes, and captions beside the images."""

import pytest

from hardpairs.data.opening import open_samples
from tests.helpers import picture


def test_a_folder_of_class_folders(tmp_path):
    for i, name in enumerate(
        ("red_fox/1.jpg", "red_fox/b/2.JPEG", "cat/x.png", "cat/notes.txt", ".hidden/y.jpg")
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture(i))
    samples = open_samples(tmp_path)
    assert list(samples.keys) == ["cat/x.png", "red_fox/1.jpg", "red_fox/b/2.JPEG"] and list(
        samples.captions
    ) == [
        "cat",
        "red fox",
        "red fox",
    ]
    assert (
        samples.group(1) == samples.group(2) != samples.group(0)
        and samples.labelled.all()
        and not samples.rejected
    )
    assert samples.image_bytes(1) == picture(0)


def test_a_template_of_captions(tmp_path):
    """Captions of the loss comparison; an image with its own words keeps them."""
    for name in ("0/a.jpg", "1/b.jpg", "1/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture(0))
    (tmp_path / "1/c.txt").write_text("its own words")
    samples = open_samples(tmp_path, caption_template="a photo of class number {}")
    assert list(samples.captions) == [
        "a photo of class number 0",
        "a photo of class number 1",
        "its own words",
    ]


def test_a_flat_folder_with_texts_beside(tmp_path):
    for i, name in enumerate(("b_1.jpg", "a.png")):
        (tmp_path / name).write_bytes(picture(i))
    (tmp_path / "a.txt").write_text(" my cat \n")
    samples = open_samples(tmp_path)
    assert (
        list(samples.captions) == ["my cat", ""]
        and samples.rejected == {1: "empty_caption"}
        and not samples.labelled.any()
        and samples.group(0) != samples.group(1)
    )


def test_folders_of_captioned_pictures_are_no_classes(tmp_path):
    """Albums by year, every picture with its own words: what lies in one folder does not show the same thing. A line is a caption."""
    for i, name in enumerate(("2019/a.jpg", "2019/b.jpg", "2020/c.jpg")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture(i))
        (tmp_path / name).with_suffix(".txt").write_text(
            f"\ufeffpicture {name}\n\n  again {i}\n" if i == 1 else f"picture {name}\n"
        )
    samples = open_samples(tmp_path)
    assert list(samples.keys) == ["2019/a.jpg", "2019/b.jpg#0", "2019/b.jpg#1", "2020/c.jpg"]
    assert list(samples.captions)[1:3] == ["picture 2019/b.jpg", "again 1"]
    assert (
        not samples.labelled.any()
        and len(set(samples.groups.tolist())) == 3
        and samples.group(1) == samples.group(2)
    )
    assert samples.image_bytes(2) == picture(1)
    classed = open_samples(tmp_path, group_key="folder")
    assert classed.labelled.all() and classed.group(0) == classed.group(2) != classed.group(3)
    assert list(classed.captions) == list(samples.captions)


@pytest.mark.parametrize(
    "text",
    [None, b"", b" \n", "ein grüner Baum".encode("latin-1"), "a red bus".encode("utf-16")],
)
@pytest.mark.parametrize("folder", ["00000/", ""])
def test_no_caption_is_made_up(tmp_path, folder, text):
    """Where one image has a caption, another without one has none."""
    (tmp_path / folder).mkdir(exist_ok=True)
    for name in "ab":
        (tmp_path / f"{folder}{name}.jpg").write_bytes(picture(0))
    (tmp_path / f"{folder}a.txt").write_text("a grey cat")
    if text is not None:
        (tmp_path / f"{folder}b.txt").write_bytes(text)
    samples = open_samples(tmp_path)
    assert list(samples.captions) == ["a grey cat", ""] and samples.rejected == {1: "empty_caption"}
    assert not samples.labelled.any()


def test_names_of_images_are_no_captions(tmp_path):
    (tmp_path / "IMG_0001.jpg").write_bytes(picture(0))
    assert open_samples(tmp_path).rejected == {0: "empty_caption"}
    templated = open_samples(tmp_path, caption_template="a photo of {}")
    assert list(templated.captions) == ["a photo of IMG 0001"]
