"""Readers of hard pairs, manifests and lists of rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hardpairs.core.atomic import json_text
from hardpairs.data.hard_pairs import HardPairTable, open_hard_pairs, write_table
from hardpairs.data.manifest import _own_hash, read_manifest
from hardpairs.data.rejects import read_rejects
from hardpairs.data.url_index import rows_by_old_number
from tests.fuzz.mutations import change_json
from tests.fuzz.reader import Reader, json_reader

INDICES = np.array([[1, 2], [0, -1], [0, 1], [-1, -1]], np.int32)
URLS = [f"http://x/{i}" for i in range(3)]
REJECTS = {"kind": "rejected_rows", "dataset_fingerprint": "x", "rows": [0, 2]}


def _pairs(path: Path) -> object:
    shutil.rmtree(path.parent / "x_hard_pairs", ignore_errors=True)
    return open_hard_pairs(path, num_samples=4)


def _table(path: Path) -> object:
    return HardPairTable.open(path.parent, verify=True), _pairs(path.parent)


def sealed(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a reader that first makes the hash in a damaged manifest right again."""

    def read_sealed(path: Path) -> object:
        try:
            manifest = json.loads(path.read_bytes())
            manifest.pop("sha256")
            manifest = {**manifest, "sha256": _own_hash(manifest)}
            path.write_text(json_text(manifest), encoding="utf-8")
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            pass
        return read(path)

    return read_sealed


def pair_readers(folder: Path) -> Iterator[Reader]:
    """Yield the readers, after writing what their files need beside them."""
    scores = np.where(INDICES >= 0, 0.5, 0).astype(np.float32)
    for name in ("pairs", "sealed", "indices"):
        write_table(folder / name, INDICES, scores, {})
    manifest = (folder / "pairs/manifest.json").read_bytes()
    json_too = (change_json,)
    yield Reader("pairs/manifest.json", manifest, lambda p: read_manifest(p.parent), json_too)
    yield Reader("sealed/manifest.json", manifest, sealed(_table), json_too, share=2)
    yield Reader("indices/indices.npy", (folder / "indices/indices.npy").read_bytes(), _table)

    yield Reader("helip/x_hard_sample.csv", b"0,1,2\n1,0\n2,0.0,1\n3\n", _pairs, share=2)
    lists = {str(i): [(i + 1) % 4] for i in range(4)}
    yield json_reader("helip/x_hard_sample_dict.json", lists, _pairs)
    numbers = {url: i for i, url in enumerate(URLS)}
    yield json_reader("urls/u.json", numbers, lambda path: rows_by_old_number(path, URLS))
    yield json_reader(
        "rejects/r.json", REJECTS, lambda path: read_rejects(path, num_samples=4, fingerprint="x")
    )
