"""An index on disk: generations of files, ids of contents, and what is refused."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.manifest import write_manifest
from hardpairs.photos.index import KEYS, Index, check_model, generation, write_index
from hardpairs.photos.scan import PhotoFile
from hardpairs.photos.table import Row, Table

MODEL = {"model": "m", "weights": "sha256:1", "preprocess": {"size": 32}}
NOTHING = Table.of([])


def photos(*contents: str) -> Table:
    return Table.of(
        Row(PhotoFile(f"/{i}.jpg", "", -1, 1, 1), hashlib.sha256(text.encode()).digest(), "")
        for i, text in enumerate(contents)
    )


def write(folder, *contents: str, **more) -> np.ndarray:
    folder.mkdir(exist_ok=True)
    rows = np.arange(len(contents) * 2, dtype=np.float32).reshape(-1, 2)
    write_index(
        folder, iter([rows[:1], rows[1:]]), rows.shape, photos(*contents), NOTHING, MODEL | more
    )
    return rows


def test_blocks_become_one_mapped_array(tmp_path):
    rows = write(tmp_path, "a", "b", "a")
    index = Index.open(tmp_path)
    assert isinstance(index.embeddings, np.memmap) and np.array_equal(index.embeddings, rows)
    a, b = (hashlib.sha256(text).hexdigest()[:16] for text in (b"a", b"b"))
    assert index.ids == [a, b, a] and index.row_of == {a: 0, b: 1}
    assert index.manifest["photos"] == len(index) == 3 and index.model == MODEL


def test_a_new_generation_replaces_the_files_but_not_those_that_are_open(tmp_path):
    assert generation(tmp_path) == 0
    rows = write(tmp_path, "a", "b")
    first = Index.open(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".photos-2.npz.1.tmp").write_text("of a killed run")
    write(tmp_path, "c", "d", "e")
    assert np.array_equal(first.embeddings, rows) and generation(tmp_path) == 2
    kept = {"embeddings-2.npy", "photos-2.npz", "unread-2.npz", "manifest.json", "notes.txt"}
    assert {path.name for path in tmp_path.iterdir()} == kept


def flip(path) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[-3] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), 2, "no such index"),
        (lambda folder: (folder / "photos-1.npz").write_bytes(b"PK"), 4, "manifest says"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), 4, "damaged"),
        (lambda folder: flip(folder / "embeddings-1.npy"), 4, "sha256(.|\n)*index again"),
        (lambda folder: flip(folder / "photos-1.npz"), 4, "sha256(.|\n)*index again"),
    ],
)
def test_what_is_refused(tmp_path, change, code, says):
    write(tmp_path, "a", "b")
    change(tmp_path)
    with pytest.raises(UserError, match=says) as error:
        Index.open(tmp_path)
    assert error.value.code == code


@pytest.mark.parametrize("key", KEYS)
def test_a_manifest_that_lacks_a_fact_is_refused(tmp_path, key):
    write(tmp_path, "a")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    write_manifest(tmp_path, {k: v for k, v in manifest.items() if k not in (key, "sha256")}, [])
    with pytest.raises(UserError, match=f"does not say {key}") as error:
        Index.open(tmp_path)
    assert error.value.code == 4


def test_another_output_is_no_index(tmp_path):
    write(tmp_path, "a", kind="embeddings")
    with pytest.raises(UserError, match="not an index of photos") as error:
        Index.open(tmp_path)
    assert error.value.code == 3


def test_another_model_is_refused_by_what_differs(tmp_path):
    write(tmp_path, "a")
    index = Index.open(tmp_path)
    check_model(index, {**MODEL, "more": 1})
    with pytest.raises(UserError, match="another model \\(other weights\\)") as error:
        check_model(index, {**MODEL, "weights": "sha256:2"})
    assert error.value.code == 4 and "sha256:2" in error.value.where
