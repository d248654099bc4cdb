"""Folders of images: links, and captions in files of other kinds."""

from hardpairs.data.opening import open_samples
from tests.helpers import picture


def test_links_to_class_folders_are_followed_and_loops_are_not(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.jpg").write_bytes(picture(0))
    (tmp_path / "tree/cat").mkdir(parents=True)
    (tmp_path / "tree/cat/b.jpg").write_bytes(picture(1))
    (tmp_path / "tree/fox").symlink_to(tmp_path / "real")
    (tmp_path / "tree/cat/up").symlink_to(tmp_path / "tree")
    samples = open_samples(tmp_path / "tree")
    assert list(samples.keys) == ["cat/b.jpg", "fox/a.jpg"] and list(samples.captions) == [
        "cat",
        "fox",
    ]


def test_captions_in_other_files_beside(tmp_path):
    """Of img2dataset's files, and of trainers of diffusion models."""
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(picture(0))
    (tmp_path / "a.json").write_text('{"caption": "a boat", "url": "x"}')
    (tmp_path / "b.json").write_text('{"caption": null}')
    (tmp_path / "c.caption").write_text("a sail")
    samples = open_samples(tmp_path)
    assert list(samples.captions) == ["a boat", "", "a sail"]
