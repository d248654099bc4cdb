"""Tar index: places, sidecar, and what is wrong with a tar."""

import io
import tarfile
from pathlib import Path

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.data.shards import ShardIndex, expand_shards, shard_names
from tests.helpers import picture, sample, write_tar


def test_members_are_found_by_offset(shards):
    index = ShardIndex.open(shards / "00000.tar")
    data = (shards / "00000.tar").read_bytes()
    assert list(index.keys) == [f"00000{i:04d}" for i in range(7)]
    for i, (offset, size) in enumerate(zip(index.image_offset, index.image_size, strict=True)):
        assert data[offset : offset + size] == picture(i)
    assert list(index.captions)[:4] == [
        "picture number 0",
        "picture number 1",
        "picture number 2",
        "",
    ]
    assert list(index.groups) == [str(i) for i in range(7)]


def test_sidecar_is_reused_and_renewed_when_the_tar_changes(shards):
    path = shards / "00000.tar"
    ShardIndex.open(path)
    sidecar = path.with_suffix(".index.npz")
    stamp = sidecar.stat().st_mtime_ns
    ShardIndex.open(path)
    assert sidecar.stat().st_mtime_ns == stamp
    write_tar(path, {"x": sample(77)})
    assert list(ShardIndex.open(path).keys) == ["x"]


def test_damaged_sidecar_is_rebuilt(shards):
    path = shards / "00000.tar"
    ShardIndex.open(path)
    path.with_suffix(".index.npz").write_bytes(b"PK\x03\x04 nonsense")
    assert len(ShardIndex.open(path)) == 7


@pytest.mark.parametrize("step", [257, 512])
def test_every_cut_is_noticed(tmp_path, step):
    whole = write_tar(tmp_path / "a.tar", {f"{i}": sample(i) for i in range(3)}).read_bytes()
    last = len(whole.rstrip(b"\0"))
    for cut in range(step, last, step):
        path = tmp_path / "cut.tar"
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match="cut short|not a readable tar") as error:
            ShardIndex.open(path)
        assert error.value.code == 3


def test_a_folder_in_place_of_a_shard_is_not_a_damaged_one(tmp_path):
    with pytest.raises(UserError, match="the shard cannot be opened") as error:
        ShardIndex.open(tmp_path)
    assert error.value.code == 3 and "check the path" in error.value.fix


def test_unsafe_and_odd_members_are_harmless(tmp_path):
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("device.jpg", tarfile.CHRTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        long_name = "d" * 300 + "/" + "k" * 200
        for extension, data in (("pyd", b"boom"), ("jpg", picture(0)), ("txt", b"a long name")):
            info = tarfile.TarInfo(f"{long_name}.{extension}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    index = ShardIndex.open(path)
    assert list(index.keys) == [long_name] and list(index.captions) == ["a long name"]


def test_first_of_equal_members_wins(tmp_path):
    path = tmp_path / "twice.tar"
    with tarfile.open(path, "w") as tar:
        for text in (b"first", b"second"):
            info = tarfile.TarInfo("a.txt")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    assert list(ShardIndex.open(path).captions) == ["first"]


def test_shards_are_named_in_many_ways(shards):
    names = [f"{i:05d}.tar" for i in range(3)]
    for spec in (
        str(shards),
        f"{shards}/*.tar",
        f"{shards}/{{00000..00002}}.tar",
        [f"{shards}/{name}" for name in names],
        "::".join(f"{shards}/{n}" for n in names),
    ):
        assert [path.name for path in expand_shards(spec)] == names


@pytest.mark.parametrize(
    ("spec", "code"),
    [("pipe:touch x", 2), ("s3://x/0.tar", 2), ("nowhere/*.tar", 2), ("nowhere/{00..02}.tar", 3)],
)
def test_wrong_shards_are_refused(spec, code):
    with pytest.raises(UserError) as error:
        expand_shards(spec)
    assert error.value.code == code


def test_image_cut_in_an_indexed_tar_is_an_os_error(shards):
    samples = open_samples(shards)
    with open(shards / "00002.tar", "r+b") as file:
        file.truncate(1000)
    with pytest.raises(OSError):
        samples.image_bytes(19)


@pytest.mark.parametrize(
    "name", ["photos [2023]", "what is this?", "run {a,b}", "half {open", "a::b"]
)
def test_signs_of_patterns_in_names_of_folders(tmp_path, name):
    tar = write_tar(tmp_path / name / "00000.tar", {"0": sample(0)})
    for spec in (tar, tar.parent, f"{tar.parent}/{{00000..00000}}.tar", f"{tar.parent}/*.tar"):
        if name != "a::b" or spec in (tar, tar.parent):
            assert expand_shards(spec) == [tar]


def test_one_shard_under_two_spellings_is_refused(shards):
    with pytest.raises(UserError, match="named twice"):
        expand_shards([f"{shards}/00000.tar", f"{shards}/../{shards.name}/00000.tar"])


def test_shards_are_named_by_the_ends_of_their_paths_that_differ():
    names = ("x/cc3m/00000.tar", "x/cc3m/00001.tar")
    assert shard_names([Path(name) for name in names]) == ["00000", "00001"]
    names = ("x/cc3m/00000.tar", "y/cc3m/00000.tar", "x/cc12m/00001.tar")
    assert shard_names([Path(name) for name in names]) == [
        "x/cc3m/00000",
        "y/cc3m/00000",
        "x/cc12m/00001",
    ]
    assert shard_names([Path("0.tar"), Path("0.TAR")]) == ["0.tar", "0.TAR"]


def test_joined_tars_are_read_on(tmp_path):
    """As GNU tar's -i does; keys that both have stay apart."""
    first, second = (
        write_tar(tmp_path / f"{i}.tar", {"000": sample(i), f"x{i}": sample(i + 5)})
        for i in range(2)
    )
    joined = tmp_path / "joined/0.tar"
    joined.parent.mkdir()
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    samples = open_samples(joined)
    assert list(samples.keys) == ["000", "x0", "000~2", "x1"]
    assert [samples.image_bytes(i) for i in range(4)] == [picture(i) for i in (0, 5, 1, 6)]


@pytest.mark.parametrize("tail", [b"<html>error</html>" * 60, "half"])
def test_what_follows_the_end_of_a_tar_is_told(tmp_path, tail):
    whole = write_tar(tmp_path / "a.tar", {"0": sample(0)}).read_bytes()
    (tmp_path / "b.tar").write_bytes(
        whole + (whole[: len(whole) // 2 - 3000] if tail == "half" else tail)
    )
    with pytest.raises(UserError, match="follows the end|cut short|unexpected end") as error:
        ShardIndex.open(tmp_path / "b.tar")
    assert error.value.code == 3


def test_equal_members_are_told(tmp_path, caplog):
    path = tmp_path / "twice.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.txt", "./a.txt"):
            tar.addfile(tarfile.TarInfo(name))
    ShardIndex.open(path)
    assert "1 members have the name of an earlier one" in caplog.text
