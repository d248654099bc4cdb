"""The readers of files of strangers, each with a small whole file that it reads."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hardpairs.core.atomic import json_text
from hardpairs.data.choices import open_choices
from hardpairs.data.embeddings import load_array, open_embeddings
from hardpairs.data.hard_pairs import HardPairTable, open_hard_pairs, write_table
from hardpairs.data.images import decode, read_images
from hardpairs.data.manifest import _own_hash, read_manifest
from hardpairs.data.rejects import read_rejects
from hardpairs.data.relevance import open_relevance
from hardpairs.data.samples import open_samples
from hardpairs.data.url_index import rows_by_old_number
from hardpairs.linking.label_studio import read_label_studio
from hardpairs.models.checkpoint import checkpoint_weights
from hardpairs.models.prompts import read_names
from hardpairs.training.hooks.config_file import read_config
from tests.fuzz.mutations import Mutation, change_json, change_tar
from tests.helpers import picture, sample


@dataclass(frozen=True)
class Reader:
    """A reader and a file that it reads.

    Attributes:
        name: File name, below a folder of its own.
        whole: The file.
        read: Called with the file.
        more: Mutations of files of its kind.
    """

    name: str
    whole: bytes
    read: Callable[[Path], object]
    more: tuple[Mutation, ...] = ()


def _everything(source: Path, **options: object) -> object:
    samples = open_samples(str(source), **options)
    read = read_images(samples, range(len(samples)), lambda image: image.size)
    return read, samples.fingerprint, samples.positives, samples.captions[0]


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for i in range(3):
            for extension, data in sample(i).items():
                info = tarfile.TarInfo(f"{i:03d}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _shard(path: Path) -> object:
    path.with_suffix(".index.npz").unlink(missing_ok=True)
    return _everything(path)


def _sidecar(path: Path) -> object:
    """Read a tar whose index beside it is damaged."""
    return _everything(path.parent / "0.tar")


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def _image(kind: str, mode: str = "RGB") -> bytes:
    image = Image.open(io.BytesIO(picture(0))).convert(mode)
    return _saved(lambda file: image.save(file, kind))


def _clip_retrieval(path: Path) -> object:
    embeddings = open_embeddings(path.parent.parent)
    return embeddings.image[:2], embeddings.text[:2], embeddings.fingerprint


def _sealed(path: Path) -> object:
    """Read a table whose manifest has other values and a right hash of its own."""
    try:
        manifest = json.loads(path.read_bytes())
        manifest.pop("sha256")
        path.write_text(json_text({**manifest, "sha256": _own_hash(manifest)}), encoding="utf-8")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        pass
    return HardPairTable.open(path.parent, verify=True), _pairs(path.parent)


def _pairs(path: Path) -> object:
    shutil.rmtree(path.parent / "x_hard_pairs", ignore_errors=True)
    return open_hard_pairs(path, num_samples=4)


CAPTIONS = [{"file_name": f"{i}.jpg", "caption": f"picture {i}"} for i in range(3)]
KARPATHY = {
    "images": [
        {
            **{"filename": f"{i}.jpg", "split": "test", "imgid": i, "cocoid": i},
            "sentences": [{"raw": f"picture {i}", "sentid": i}],
        }
        for i in range(3)
    ]
}
CHOICES = {
    str(i): {"filename": f"{i}.jpg", "caption": "a cat", "negative_caption": "a dog"}
    for i in range(3)
}
LINES = b"\n".join(_json({"image": f"{i}.jpg", "captions": ["a", "b"]}) for i in range(3))
ANSWERS = [
    {"id1": "a", "id2": "b", "caption1": "a cat", "caption2": "a dog", "choice": answer}
    for answer in ("Same", "Different", "Unsure")
]
CONFIG = b"lr: 1e-3\nsanw-alpha: 0.5\nlist: [1, 2]\nnested: {a: b}\nanchor: &x 5\nuse: *x\n"


def readers(folder: Path) -> dict[str, Reader]:
    """Return the readers by name, after writing what their files need beside them."""
    images = [picture(i) for i in range(3)]
    for name in (
        "list",
        "captions",
        "karpathy",
        "metadata",
        "lines",
        "table",
        "choices",
        "relevance",
    ):
        for i, data in enumerate(images):
            path = folder / name / ("Images" if name == "list" else "") / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (folder / "wds/test").mkdir(parents=True)
    (folder / "wds/test/0.tar").write_bytes(_tar())
    (folder / "wds/dataset_type.txt").write_text("retrieval")
    (folder / "sidecar").mkdir()
    (folder / "sidecar/0.tar").write_bytes(_tar())
    open_samples(str(folder / "sidecar/0.tar"))
    (folder / "relevance/d.json").write_bytes(_json(KARPATHY))
    data = open_samples(str(folder / "relevance/d.json"), split="test")
    indices = np.array([[1, 2], [0, -1], [0, 1], [-1, -1]], np.int32)
    write_table(folder / "pairs", indices, np.where(indices >= 0, 0.5, 0).astype(np.float32), {})
    shutil.copytree(folder / "pairs", folder / "sealed")
    vectors = np.eye(4, 8, dtype=np.float32)
    (folder / "clip/text_emb").mkdir(parents=True)
    np.save(folder / "clip/text_emb/text_emb_0.npy", vectors)
    npy = _saved(lambda file: np.save(file, vectors))
    manifest = (folder / "pairs/manifest.json").read_bytes()
    csv = "filepath,title,group,sha256\n" + "".join(
        f'{folder}/table/{i}.jpg,"picture ""{i}"", red",g{i % 2},\n' for i in range(3)
    )
    weights = {"epoch": 1, "state_dict": {"a": torch.zeros(3), "b": torch.ones(2, 2)}}
    rejects = {"kind": "rejected_rows", "dataset_fingerprint": "x", "rows": [0, 2]}
    json_too, urls = (change_json,), [f"http://x/{i}" for i in range(3)]
    return {
        "tar": Reader("tar/0.tar", _tar(), _shard, (change_tar,)),
        "sidecar": Reader(
            "sidecar/0.index.npz", (folder / "sidecar/0.index.npz").read_bytes(), _sidecar
        ),
        "csv": Reader("table/t.csv", csv.encode(), _everything),
        "list": Reader(
            "list/captions.txt",
            b"image,caption\n0.jpg,a cat, a dog\n1.jpg,b\n2.jpg,c\n",
            lambda path: _everything(path.parent),
        ),
        "captions": Reader("captions/c.json", _json(CAPTIONS), _everything, json_too),
        "karpathy": Reader(
            "karpathy/k.json", _json(KARPATHY), lambda p: _everything(p, split="test"), json_too
        ),
        "lines": Reader("lines/l.jsonl", LINES, _everything),
        "choices": Reader(
            "choices/c.json", _json(CHOICES), lambda p: open_choices(str(p)), json_too
        ),
        "relevance": Reader(
            "relevance/r.json",
            _json({str(i): [i] for i in range(3)}),
            lambda p: open_relevance([str(p)], data),
            json_too,
        ),
        "npy": Reader("npy/a.npy", npy, lambda path: np.asarray(load_array(path)[:2])),
        "embeddings": Reader("clip/img_emb/img_emb_0.npy", npy, _clip_retrieval),
        "manifest": Reader(
            "pairs/manifest.json", manifest, lambda p: read_manifest(p.parent), json_too
        ),
        "sealed": Reader("sealed/manifest.json", manifest, _sealed, json_too),
        "helip-csv": Reader(
            "helip/x_hard_sample.csv",
            b"0,1,2\n1,0\n2,0.0,1\n3\n",
            lambda p: _pairs(p),
        ),
        "helip-json": Reader(
            "helip/x_hard_sample_dict.json",
            _json({str(i): [(i + 1) % 4] for i in range(4)}),
            lambda p: _pairs(p),
            json_too,
        ),
        "rejects": Reader(
            "rejects/r.json",
            _json(rejects),
            lambda p: read_rejects(p, num_samples=4, fingerprint="x"),
            json_too,
        ),
        "url-index": Reader(
            "urls/u.json",
            _json({url: i for i, url in enumerate(urls)}),
            lambda p: rows_by_old_number(p, urls),
            json_too,
        ),
        "shard-count": Reader(
            "wds/test/nshards.txt", b"1\n", lambda path: _everything(path.parent)
        ),
        "metadata": Reader(
            "metadata/metadata.jsonl",
            b"\n".join(_json({"file_name": f"{i}.jpg", "text": f"picture {i}"}) for i in range(3)),
            lambda path: _everything(path.parent),
        ),
        "answers": Reader("answers/a.json", _json(ANSWERS), read_label_studio, json_too),
        "config": Reader("config/c.yaml", CONFIG, lambda p: read_config(str(p))),
        "names": Reader(
            "names/n.json", _json({"a": "cat"}), lambda p: read_names(str(p)), json_too
        ),
        "checkpoint": Reader(
            "weights/e.pt", _saved(lambda file: torch.save(weights, file)), checkpoint_weights
        ),
        **{
            f"image-{kind}-{mode}": Reader(
                f"image/{kind}{mode}", _image(kind, mode), lambda path: decode(path.read_bytes())
            )
            for kind, mode in (
                *(("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P")),
                *(("WEBP", "RGB"), ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "I"), ("TIFF", "F")),
            )
        },
    }
