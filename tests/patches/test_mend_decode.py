"""patches/0203 and 0205: no member and no name of a shard runs code. Every canary is a file that its payload would make."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import sample, write_tar
from tests.patches.test_mend_shards import pipeline
from tests.patches.test_mend_too_few import arguments


class Canary:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.path,)


def payload(suffix: str, canary: Path) -> bytes:
    pickled = pickle.dumps(Canary(canary))
    if suffix == "npy":
        buffer = io.BytesIO()
        np.save(buffer, np.array([Canary(canary)], dtype=object), allow_pickle=True)
        return buffer.getvalue()
    if suffix == "npz":
        buffer = io.BytesIO()
        np.savez(buffer, np.array([Canary(canary)], dtype=object))
        return buffer.getvalue()
    return gzip.compress(pickled) if suffix.endswith(".gz") else pickled


SUFFIXES = [
    "pyd",
    "pickle",
    "pkl",
    "pth",
    "pt",
    "npy",
    "npz",
    "ten",
    "mp",
    "cbor",
    "pyd.gz",
    "x.pyd",
    "txt.pyd",
    "jpg.pickle.gz",
    "PYD",
    "cls",
]


def one_epoch(file: str, seconds: int = 20) -> list[str]:
    """Captions of an epoch through the whole pipeline; an endless one is ended."""
    import signal

    from open_clip_train.data import get_wds_dataset
    from torchvision.transforms import PILToTensor

    texts: list[str] = []
    args = arguments(train_data=file, train_num_samples=8)

    def tokenize(text: str) -> list[int]:
        texts.append(text)
        return [0]

    def end(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        for _ in get_wds_dataset(args, PILToTensor(), is_train=True, tokenizer=tokenize).dataloader:
            pass
    finally:
        signal.alarm(0)
    return sorted(set(texts))


def shard_with(tmp_path: Path, suffix: str) -> str:
    samples = {
        f"{i:04d}": sample(i, **{suffix: payload(suffix.lower(), tmp_path / f"ran-{i}")})
        for i in range(8)
    }
    return str(write_tar(tmp_path / "0.tar", samples))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_member_runs(mended, tmp_path, suffix):
    assert (
        len(mended.call(one_epoch, shard_with(tmp_path, suffix))) == 8
    )  # the good samples beside it are all used
    assert list(tmp_path.glob("ran-*")) == []


def test_side_by_side(mended, plain, tmp_path):
    """The members that run code on OpenCLIP as it is, and mended: `pytest -s` shows the table."""
    runs = {}
    for name, copy in (("unmended", plain), ("mended", mended)):
        for suffix in SUFFIXES:
            folder = tmp_path / name / suffix
            with contextlib.suppress(TimeoutError):
                copy.call(pipeline, shard_with(folder, suffix), "val", {})
            runs[name, suffix] = any(folder.glob("ran-*"))
    print(f"\n{'member':16}unmended  mended")
    for suffix in SUFFIXES:
        print(
            f"{suffix:16}{'runs' if runs['unmended', suffix] else '-':10}{'runs' if runs['mended', suffix] else '-'}"
        )
    assert not any(runs["mended", suffix] for suffix in SUFFIXES)
    assert {suffix for suffix in SUFFIXES if runs["unmended", suffix]} >= {
        "pyd",
        "PYD",
        "pickle",
        "pyd.gz",
        "txt.pyd",
    }


def test_bad_json_and_others_do_not_matter(mended, tmp_path):
    samples = {f"{i:04d}": sample(i, cls=b"no number", mp=b"\xc1", npy=b"") for i in range(8)}
    assert len(mended.call(one_epoch, str(write_tar(tmp_path / "0.tar", samples)))) == 8


@pytest.mark.parametrize(
    "name",
    [
        "pipe:touch {}; cat {}",
        "PIPE:touch {}; cat {}",
        "https://example.invalid/x'; touch {}; cat '{}",
    ],
)
def test_no_shard_name_runs(mended, tmp_path, name):
    file, canary = (
        write_tar(tmp_path / "0.tar", {f"{i:04d}": sample(i) for i in range(10)}),
        tmp_path / "ran",
    )
    for split in ("train", "val"):
        with pytest.raises(ValueError, match="--allow-pipe"):
            mended.call(pipeline, name.format(canary, file), split, {})
    assert not canary.exists()


def test_pipes_that_are_allowed(mended, plain, tmp_path):
    file, canary = (
        write_tar(tmp_path / "0.tar", {f"{i:04d}": sample(i) for i in range(10)}),
        tmp_path / "ran",
    )
    name = f"pipe:touch {canary}; cat {file}"
    assert mended.call(pipeline, name, "val", {"allow_pipe": True}) == [4, 4, 2] and canary.exists()
    canary.unlink()
    assert (
        plain.call(pipeline, name, "val", {}) == [4, 4, 2] and canary.exists()
    )  # unmended, it needs no leave


def test_local_names(mended, tmp_path):
    file = write_tar(tmp_path / "a:b" / "0.tar", {f"{i:04d}": sample(i) for i in range(10)})
    assert mended.call(pipeline, str(file), "val", {}) == [4, 4, 2]
    assert mended.call(
        pipeline, f"file:{write_tar(tmp_path / '1.tar', {'0': sample(0)})}", "val", {}
    ) == [1]
