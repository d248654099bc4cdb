"""Names of members: one rule for the index, the tables and the readers."""

from __future__ import annotations

import io
import json
import tarfile
import unicodedata
from pathlib import Path

import pytest

from hardpairs.data.members import TarPaths, member_key, split_member
from hardpairs.data.opening import open_samples
from hardpairs.data.shard_table import write_shard_table
from tests.helpers import picture


def write_members(path: Path, members: list[tuple[str, bytes]], **options) -> Path:
    """A tar of members under just these names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("name", "key", "suffix"),
    [
        ("./000.jpg", "000", "jpg"),
        ("v1.0/000.JPG", "v1.0/000", "jpg"),
        ("./set-2.1//part/a.seg.PNG", "set-2.1/part/a", "seg.png"),
        ("/data/000.txt", "data/000", "txt"),
        ("../000.txt", "../000", "txt"),
        ("22.05.jpg", "22", "05.jpg"),
        (".jpg", "", ""),
        ("cat/._000.jpg", "", ""),
        ("README", "", ""),
        ("café/写真.jpg", "café/写真", "jpg"),
        ("caf\udce9.jpg", "caf\\udce9", "jpg"),
    ],
)
def test_key_and_suffix(name, key, suffix):
    assert split_member(name) == (key, suffix)
    assert not key or member_key(f"{key}.jpg") == key == member_key(key)


@pytest.mark.parametrize("prefix", ["./", "v1.0/", "./set-2.1/part/", "/", "../", "cat/", "é/"])
def test_a_sample_that_is_listed_is_readable(tmp_path, prefix):
    """By the tar, by the table of the tar, and by that table in Unicode's composed form."""
    decomposed = unicodedata.normalize("NFD", prefix)
    tar = write_members(
        tmp_path / "00000.tar",
        [
            (f"{decomposed}{i:03d}.{suffix}", data)
            for i in range(3)
            for suffix, data in (("JPG", picture(i)), ("txt", b"a small house"))
        ],
    )
    assert write_shard_table([str(tar)], tmp_path / "list.csv")["usable"] == 3
    (tmp_path / "composed.csv").write_text(
        unicodedata.normalize("NFC", (tmp_path / "list.csv").read_text())
    )
    for source in (tar, tmp_path / "list.csv", tmp_path / "composed.csv"):
        samples = open_samples(source)
        assert [samples.image_bytes(i) for i in range(3)] == list(map(picture, range(3)))
    assert open_samples(tar).fingerprint == open_samples(tmp_path / "list.csv").fingerprint


def test_one_sample_under_two_spellings_and_members_of_none(tmp_path):
    tar = write_members(
        tmp_path / "0.TAR",
        [
            ("./a.jpg", picture(1)),
            ("a.txt", b"words"),
            ("._a.jpg", b"what macOS adds"),
            ("README", b"no suffix"),
        ],
    )
    for source in (tmp_path, tar, f"{tmp_path}/*.TAR"):
        samples = open_samples(source)
        assert list(samples.keys) == ["a"] and samples.image_bytes(0) == picture(1)


def test_a_name_that_is_not_utf8_is_escaped_and_found(tmp_path):
    members = [
        (f"caf{end}.{x}", b)
        for end in "\udce9\udce8"
        for x, b in (("jpg", picture(ord(end) % 9)), ("txt", b"cup"))
    ]
    tar = write_members(
        tmp_path / "0.tar", members, format=tarfile.GNU_FORMAT, errors="surrogateescape"
    )
    write_shard_table([str(tar)], tmp_path / "t.csv")
    samples = open_samples(tmp_path / "t.csv")
    assert list(samples.keys) == ["caf\\udce9", "caf\\udce8"]
    assert [samples.image_bytes(i) for i in range(2)] == [members[0][1], members[2][1]]


def test_a_tar_is_any_file_on_the_way(tmp_path):
    tar = write_members(tmp_path / "part-0", [("x/a.jpg", picture(0)), ("x/a.txt", b"words")])
    split = TarPaths().split
    assert split(f"{tar}/x/a.jpg") == (str(tar), "x/a.jpg")
    assert split(f"{tmp_path}/a.jpg") == ("", f"{tmp_path}/a.jpg")
    assert split("none.tar/a.jpg") == ("", "none.tar/a.jpg")
    assert split("s3://b/0.tar/x/a.jpg") == ("s3://b/0.tar", "x/a.jpg")
    write_shard_table([str(tar)], tmp_path / "t.csv")
    assert open_samples(tmp_path / "t.csv").image_bytes(0) == picture(0)


def test_samples_of_other_names(tmp_path):
    """With the flags the rows are read; the JSON's caption comes before the text beside it."""
    tar = write_members(
        tmp_path / "0.tar",
        [
            ("0.input.jpg", picture(0)),
            ("0.outputs.txt", b"a hill"),
            ("1.jpg", picture(1)),
            ("1.json", json.dumps({"long": "a long hill \ud83d"}).encode()),
            ("1.txt", b"a short hill"),
        ],
    )
    samples = open_samples(tar, image_key="input.jpg", caption_key="outputs.txt")
    assert list(samples.captions) == ["a hill", "a short hill"] and not samples.rejected
    samples = open_samples(tar, caption_key="long")
    assert list(samples.captions) == ["", "a long hill \ufffd"]
    assert list(open_samples(tar).captions) == ["", "a short hill"]
