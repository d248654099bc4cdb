"""Which files of a folder are photos, with which captions; nothing is opened but texts and tars."""

from __future__ import annotations

import json
import os

import pytest

from hardpairs.core.errors import UserError
from hardpairs.photos.scan import MAX_CAPTION, PhotoFile, scan
from tests.helpers import picture, sample, write_tar


def names(result, folder) -> list[str]:
    return [os.path.relpath(file.path, folder) for file in result.files]


def test_links_and_hidden_names(photos, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(picture(77))
    os.symlink(tmp_path / "secret.jpg", photos / "link.jpg")
    os.symlink(photos / "summer", photos / "again")
    os.symlink("/", photos / "root")
    (photos / ".hidden.jpg").write_bytes(picture(78))
    os.mkfifo(photos / "pipe.jpg")
    result = scan([str(photos)])
    assert names(result, photos) == [
        f"{'summer' if i < 6 else 'winter'}/{i:02d}.jpg" for i in range(12)
    ]
    assert result.skipped == {"link that leaves the folder": 2}


def test_sources_of_all_kinds_and_each_photo_once(photos, tmp_path):
    single = photos / "summer/03.jpg"
    tar = write_tar(photos / "b.tar", {"0": sample(100), "1": {"txt": b"no image"}})
    (photos / "c.tar").write_bytes(b"no tar")
    result = scan([str(single), str(photos), str(tar)])
    stat = single.stat()
    assert result.files[0] == PhotoFile(str(single), "", -1, stat.st_size, stat.st_mtime_ns)
    assert len(result.files) == 13
    member = next(file for file in result.files if file.key)
    assert (member.path, member.key, member.size) == (str(tar), "0", len(picture(100)))
    assert tar.read_bytes()[member.offset :].startswith(picture(100))
    assert result.captions == {(str(tar), "0"): "picture number 100"}
    assert [(file.path, reason) for file, reason in result.damaged.items()] == [
        (str(photos / "c.tar"), "torn_tar")
    ]


def test_captions_of_a_captions_json(photos, tmp_path):
    """In the folder or beside it, as MiniCLIP has it; null is no caption."""
    entries = [
        {"file_name": "summer/00.jpg", "caption": " a mug "},
        {"file_name": "summer/00.jpg", "caption": "a chair"},
        {"file_name": "summer/01.jpg", "caption": None},
        {"file_name": "summer/02.jpg", "caption": "x" * 2000},
    ]
    for path in (tmp_path / "captions.json", photos / "captions.json"):
        path.write_text(json.dumps(entries))
        captions = scan([str(photos)]).captions
        assert captions[str(photos / "summer/00.jpg"), ""] == "a mug · a chair"
        assert captions[str(photos / "images/summer/00.jpg"), ""] == "a mug · a chair"
        assert captions[str(photos / "summer/02.jpg"), ""] == "x" * MAX_CAPTION
        assert (str(photos / "summer/01.jpg"), "") not in captions
        path.write_text('{"something": "else"}')
        assert not scan([str(photos)]).captions


def test_captions_beside_images(photos):
    (photos / "summer/00.txt").write_text(" a hill\n")
    (photos / "summer/01.txt").write_bytes(b"\xff\xfe")
    expected = {(str(photos / "summer/00.jpg"), ""): "a hill"}
    assert scan([str(photos)]).captions == expected
    assert scan([str(photos / "summer/00.jpg")]).captions == expected


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("https://example.org/photos", "only local folders"),
        ("nowhere", "no such file or folder"),
        ("notes.md", "neither an image nor a folder nor a tar"),
    ],
)
def test_other_sources_are_refused(tmp_path, monkeypatch, source, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.md").write_text("# notes")
    with pytest.raises(UserError, match=says) as error:
        scan([source])
    assert error.value.code == 2
