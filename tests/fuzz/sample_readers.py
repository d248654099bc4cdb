"""Readers of image-text pairs: shards, tables, lists of captions, and what stands beside them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hardpairs.data.choices import open_choices
from hardpairs.data.images import read_images
from hardpairs.data.opening import open_samples
from hardpairs.data.relevance import open_relevance
from tests.fuzz.mutations import change_tar
from tests.fuzz.reader import Reader, json_lines, json_reader, write_images
from tests.helpers import sample

CSV = 'filepath,title,group,sha256\n0.jpg,"a ""red"" cat",g0,\n1.jpg,b,g1,\n2.jpg,c,g0,\n'
LIST = b"image,caption\n0.jpg,a cat, a dog\n1.jpg,b\n2.jpg,c\n"
KARPATHY = {
    "images": [
        {
            **{"filename": f"{i}.jpg", "split": "test", "imgid": i, "cocoid": i},
            "sentences": [{"raw": f"picture {i}", "sentid": i}],
        }
        for i in range(3)
    ]
}


def _everything(source: Path, **options: object) -> object:
    samples = open_samples(str(source), **options)
    read = read_images(samples, range(len(samples)), lambda image: image.size)
    return read, samples.fingerprint, samples.positives, samples.captions[0]


def _folder(path: Path) -> object:
    return _everything(path.parent)


def _shard(path: Path) -> object:
    path.with_suffix(".index.npz").unlink(missing_ok=True)
    return _everything(path)


def _beside_a_shard(path: Path) -> object:
    return _everything(path.parent / "0.tar")


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for i in range(3):
            for extension, data in sample(i).items():
                info = tarfile.TarInfo(f"{i:03d}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def sample_readers(folder: Path) -> Iterator[Reader]:
    """Yield the readers, after writing what their files need beside them."""
    tar = _tar()
    for name in ("sidecar/0.tar", "wds/test/0.tar", "tar/0.tar"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(tar)
    open_samples(str(folder / "sidecar/0.tar"))  # which writes its index
    (folder / "wds/dataset_type.txt").write_text("retrieval")
    yield Reader("tar/0.tar", tar, _shard, (change_tar,), share=2)
    index = (folder / "sidecar/0.index.npz").read_bytes()
    yield Reader("sidecar/0.index.npz", index, _beside_a_shard, share=1)
    yield Reader("wds/test/nshards.txt", b"1\n", _folder, share=1)

    for name in ("csv", "captions", "karpathy", "lines", "metadata", "list/Images"):
        write_images(folder / name)
    yield Reader("csv/t.csv", CSV.encode(), _everything)
    captions = [{"file_name": f"{i}.jpg", "caption": f"picture {i}"} for i in range(3)]
    yield json_reader("captions/c.json", captions, _everything)
    yield json_reader("karpathy/k.json", KARPATHY, partial(_everything, split="test"))
    lines = json_lines({"image": f"{i}.jpg", "captions": ["a", "b"]} for i in range(3))
    yield Reader("lines/l.jsonl", lines, _everything)
    metadata = json_lines({"file_name": f"{i}.jpg", "text": f"picture {i}"} for i in range(3))
    yield Reader("metadata/metadata.jsonl", metadata, _folder)
    yield Reader("list/captions.txt", LIST, _folder)

    write_images(folder / "truth")
    (folder / "truth/d.json").write_bytes(json_lines([KARPATHY]))
    data = open_samples(str(folder / "truth/d.json"), split="test")
    truth = {str(i): [i] for i in range(3)}
    yield json_reader("truth/r.json", truth, lambda path: open_relevance([path], data))
    choices = [
        {"filename": f"{i}.jpg", "caption": "a cat", "negative_caption": "a dog"} for i in range(3)
    ]
    write_images(folder / "choices")
    yield json_reader("choices/c.json", choices, lambda path: open_choices(str(path)))
    yield Reader("choices/c.jsonl", json_lines(choices), lambda path: open_choices(str(path)))
