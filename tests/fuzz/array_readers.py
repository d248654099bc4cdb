"""Readers of arrays and parquet: embeddings, and the index of photos."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hardpairs.data.downloads import download_failures
from hardpairs.data.embedding_parts import load_array
from hardpairs.data.embeddings import open_embeddings
from hardpairs.photos.index import Index, write_index
from hardpairs.photos.scan import PhotoFile
from hardpairs.photos.table import NO_DIGEST, Row, Table
from tests.fuzz.mutations import change_json
from tests.fuzz.pair_readers import sealed
from tests.fuzz.reader import Reader, saved

VECTORS = np.eye(4, 8, dtype=np.float32)


def _embeddings(path: Path) -> object:
    embeddings = open_embeddings(path)
    return embeddings.image[:2], embeddings.text[:2], embeddings.fingerprint


def _photos(path: Path) -> object:
    index = Index.open(path.parent)
    return index.embeddings[:2], index.ids, index.model


def _rows(path: Path) -> object:
    return [*Table.read(path).files()]


def _parquet(**columns: object) -> bytes:
    return saved(lambda file: pq.write_table(pa.table(columns), file))


def array_readers(folder: Path) -> Iterator[Reader]:
    """Yield the readers, after writing what their files need beside them."""
    npy = saved(lambda file: np.save(file, VECTORS))
    yield Reader("npy/a.npy", npy, lambda path: np.asarray(load_array(path)[:2]))
    yield Reader("url/a.npy", npy, lambda path: load_array(path.as_uri())[:2], share=1)
    (folder / "clip/text_emb").mkdir(parents=True)
    (folder / "clip/text_emb/text_emb_0.npy").write_bytes(npy)
    clip = partial(_embeddings, folder / "clip")
    yield Reader("clip/img_emb/img_emb_0.npy", npy, lambda path: clip())
    vectors = VECTORS.tolist()
    columns = _parquet(image_embedding=vectors, text_embedding=vectors, key=[*"abcd"])
    yield Reader("parquet/e.parquet", columns, _embeddings, share=2)
    metadata = _parquet(key=[*"abcd"], caption=["a cat", "", "b", "c"])
    for kind in ("img", "text"):
        (folder / f"facts/{kind}_emb").mkdir(parents=True)
        (folder / f"facts/{kind}_emb/{kind}_emb_0.npy").write_bytes(npy)
    facts = partial(_embeddings, folder / "facts")
    yield Reader("facts/metadata/metadata_0.parquet", metadata, lambda path: facts(), share=2)
    failed = _parquet(status=["success", "failed_to_download"], error_message=[None, "404"])
    beside = folder / "downloads/0.tar"
    yield Reader("downloads/0.parquet", failed, lambda path: download_failures(beside), share=2)

    rows = Table.of(Row(PhotoFile(f"/{i}.jpg", "", -1, 9, 9), NO_DIGEST, "a") for i in range(4))
    content = {"model": "m", "weights": "w", "preprocess": {}, "sources": ["/"]}
    photos = folder / "photos"
    photos.mkdir()
    write_index(photos, [VECTORS], VECTORS.shape, rows, Table.of([]), content)
    manifest = (photos / "manifest.json").read_bytes()
    yield Reader("photos/manifest.json", manifest, sealed(_photos), (change_json,), share=2)
    yield Reader("rows/photos.npz", (photos / "photos-1.npz").read_bytes(), _rows, share=2)
