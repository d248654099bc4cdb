"""patches/0202 and 0204: every webdataset's end of a shard is understood, and a damaged shard is told."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.helpers import sample, write_tar
from tests.patches.conftest import Copy
from tests.patches.test_mend_too_few import arguments

SAMPLES = 10


def grouped(files: list[str]) -> list[str]:
    """Samples of shards as webdataset itself hands them to OpenCLIP's grouping, each as its key and members."""
    from open_clip_train.data import group_by_keys_nothrow
    from webdataset.tariterators import tar_file_expander, url_opener

    samples = group_by_keys_nothrow(
        tar_file_expander(url_opener([{"url": file} for file in files]))
    )
    return [
        " ".join([one["__key__"], *sorted(name for name in one if name[0] != "_")])
        for one in samples
    ]


def captions(file: str, policy: str) -> tuple[list[str], int]:
    """Captions of the samples of a shard that have an image, and the count of bad shards so far."""
    import webdataset
    from open_clip_train import data

    handler = data.log_and_continue if policy == "salvage" else webdataset.reraise_exception
    samples = data.tarfile_to_samples_nothrow(iter([{"url": file}]), handler=handler)
    found = [one["txt"].decode() for one in samples if data.filter_no_caption_or_no_image(one)]
    return found, getattr(data, "_BAD_SHARDS", None) and data._BAD_SHARDS.value


def cut_captions(file: str, cuts: list[int], policy: str) -> list[list[str] | str]:
    """For each cut of a shard its captions, or the error."""
    whole = Path(file).read_bytes()
    results: list[list[str] | str] = []
    for cut in cuts:
        Path(file).write_bytes(whole[:cut])
        try:
            results.append(captions(file, policy)[0])
        except Exception as error:
            results.append(repr(error))
    Path(file).write_bytes(whole)
    return results


def pipeline(files: str, split: str, values: dict[str, object]) -> list[int]:
    """Sizes of the batches that the whole pipeline gives."""
    from open_clip_train.data import get_wds_dataset
    from torchvision.transforms import PILToTensor

    args = arguments(
        train_data=files,
        val_data=files,
        val_num_samples=SAMPLES,
        train_num_samples=SAMPLES,
        **values,
    )
    is_train = split == "train"
    loader = get_wds_dataset(
        args, PILToTensor(), is_train=is_train, tokenizer=lambda text: [len(text)]
    ).dataloader
    return [len(images) for images, _ in loader]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return write_tar(tmp_path / "0.tar", {f"{i:04d}": sample(i) for i in range(SAMPLES)})


@pytest.fixture
def seam(tmp_path: Path) -> list[str]:
    """Two shards, of which the second begins with the key that the first one ends with."""
    write_tar(tmp_path / "1.tar", {"a": sample(0), "b": {"jpg": b"1"}})
    write_tar(tmp_path / "2.tar", {"b": {"txt": b"2"}, "c": sample(1)})
    return [str(tmp_path / "1.tar"), str(tmp_path / "2.tar")]


def ends(shard: Path) -> list[int]:
    """Where each sample has both its image and its caption in a tar."""
    with tarfile.open(shard) as tar:
        return [member.offset_data + member.size for member in tar if member.name.endswith(".txt")]


def test_end_of_shard(mended, seam):
    assert mended.call(grouped, seam) == ["a jpg json txt", "b jpg", "b txt", "c jpg json txt"]


def test_end_of_shard_unmended(plain, seam):
    with pytest.raises(KeyError, match="fname"):
        plain.call(grouped, seam)


def sizes_of(shards: list[str]) -> tuple[int | None, int]:
    from open_clip_train.data import get_dataset_size

    return get_dataset_size(shards)


def test_list_of_shards(mended, plain, seam):
    assert mended.call(sizes_of, seam) == (None, 2)
    with pytest.raises(AttributeError, match="split"):
        plain.call(sizes_of, seam)


def test_every_cut_is_found(mended, shard):
    size, marks = shard.stat().st_size, ends(shard)
    last = 512 * -(-marks[-1] // 512) + 1024 * 2  # the last json member follows
    cuts = sorted({*range(0, last, 257), *range(0, last, 512)})
    errors = mended.call(cut_captions, str(shard), cuts, "error")
    assert all(
        isinstance(error, str) and "ReadError" in error and "0.tar" in error for error in errors
    )
    salvaged = mended.call(cut_captions, str(shard), cuts, "salvage")
    assert [len(found) for found in salvaged] == [
        sum(mark <= cut for mark in marks) for cut in cuts
    ]
    everything = [f"picture number {i}" for i in range(SAMPLES)]
    assert all(found == everything[: len(found)] for found in salvaged)  # none is cut in two
    assert mended.call(cut_captions, str(shard), [size], "error") == [everything]


def test_what_follows_a_tar_is_told(mended, shard):
    """Two tars that cat joined: the second one was lost."""
    shard.write_bytes(shard.read_bytes() * 2)
    size = shard.stat().st_size
    assert "something follows it" in mended.call(cut_captions, str(shard), [size], "error")[0]
    assert len(mended.call(cut_captions, str(shard), [size], "salvage")[0]) == SAMPLES


def test_cuts_unmended(plain, shard):
    """No cut is an error; whatever is behind it is gone."""
    whole = shard.read_bytes()
    marks = ends(shard)
    sizes = []
    for cut in (marks[2], marks[5] + 100, marks[8] - 10):
        shard.write_bytes(whole[:cut])
        sizes.append(sum(plain.call(pipeline, str(shard), "val", {})))
    assert sizes == [3, 6, 8]


def test_bad_shards_are_counted(mended, shard):
    before = mended.call(captions, str(shard), "salvage")[1]
    shard.write_bytes(shard.read_bytes()[:9000])
    found, count = mended.call(captions, str(shard), "salvage")
    assert 0 < len(found) < SAMPLES and count == before + 1


def test_broken_header(mended, shard):
    with tarfile.open(shard) as tar:
        middle = tar.getmembers()[15].offset
    content = bytearray(shard.read_bytes())
    content[middle] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(tarfile.ReadError, match=r"0\.tar"):
        mended.call(captions, str(shard), "error")
    assert len(mended.call(captions, str(shard), "salvage")[0]) == 5


def test_compressed_shard(mended, shard):
    packed = shard.with_name("0.tar.gz")
    packed.write_bytes(gzip.compress(shard.read_bytes()))
    assert len(mended.call(captions, str(packed), "error")[0]) == SAMPLES
    cuts = range(0, packed.stat().st_size - 100, 97)
    assert all(
        "ReadError" in str(error)
        for error in mended.call(cut_captions, str(packed), list(cuts), "error")
    )


def test_whole_shards_of_other_makers(mended, tmp_path, shard):
    """GNU tar, long names, a folder and a link among the files, no padding to 10 KB: nothing of it is damage."""
    content = tmp_path / "content"
    content.mkdir()
    with tarfile.open(shard) as tar:
        for member in tar:
            (content / f"{'long' * 40}{member.name}").write_bytes(tar.extractfile(member).read())
    (content / "folder").mkdir()
    (content / "link.txt").symlink_to("0000.txt")
    made = tmp_path / "made.tar"
    for options in ([], ["--format=gnu"], ["--format=pax"], ["--blocking-factor=1"]):
        subprocess.run(
            ["tar", *options, "--sort=name", "-cf", made, "-C", content, "."], check=True
        )
        assert len(mended.call(captions, str(made), "error")[0]) == SAMPLES, options


def test_missing_shard(mended, tmp_path, shard):
    files = str(tmp_path / "{0..1}.tar")
    for split in ("train", "val"):
        with pytest.raises(FileNotFoundError, match=r"1\.tar"):
            mended.call(pipeline, files, split, {})
        assert sum(mended.call(pipeline, files, split, {"on_bad_shard": "salvage"})) >= 8


def test_damage_stops_train_and_val(mended, shard):
    shard.write_bytes(shard.read_bytes()[:9000])
    for split in ("train", "val"):
        with pytest.raises(tarfile.ReadError, match="--on-bad-shard salvage"):
            mended.call(pipeline, str(shard), split, {})
    assert sum(mended.call(pipeline, str(shard), "val", {"on_bad_shard": "salvage"})) < SAMPLES


def test_damage_in_a_worker_of_the_loader(mended, shard):
    shard.write_bytes(shard.read_bytes()[:9000])
    with pytest.raises(tarfile.ReadError, match="--on-bad-shard salvage"):
        mended.call(pipeline, str(shard), "train", {"workers": 1})


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.2.86", "0.2.100", "0.2.111", "1.0.2"])
def test_webdataset_versions(mended, tmp_path, shard, seam, version):
    """The whole pipeline on each webdataset, fetched from the package index; members that would run code among them."""
    from tests.patches.test_mend_decode import SUFFIXES, one_epoch, shard_with

    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(tmp_path / "wds"),
        f"webdataset=={version}",
    ]
    if subprocess.run(install, capture_output=True).returncode:
        pytest.skip("no package index here")
    (tmp_path / "wds" / "open_clip_train").symlink_to(Path(mended.source) / "open_clip_train")
    copy = Copy(tmp_path / "wds")
    try:
        assert copy.call(webdataset_version) == version
        assert copy.call(grouped, seam)[-1] == "c jpg json txt"
        for split, sizes in (("train", [4, 4, 4]), ("val", [4, 4, 2])):
            assert copy.call(pipeline, str(shard), split, {}) == sizes
        assert len(copy.call(captions, str(shard), "error")[0]) == SAMPLES
        for suffix in SUFFIXES:
            assert len(copy.call(one_epoch, shard_with(tmp_path, suffix))) == 8
        assert list(tmp_path.glob("ran-*")) == []
    finally:
        copy.close()


def webdataset_version() -> str:
    import webdataset

    return re.search(
        r"-([\d.]+)\.dist-info",
        " ".join(path.name for path in Path(webdataset.__file__).parents[1].iterdir()),
    )[1]
