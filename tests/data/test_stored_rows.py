"""Stored rows are the rows of their tars, as files that are mapped."""

from __future__ import annotations

import json
import mmap
import shutil

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data import stored_rows
from hardpairs.data.opening import open_samples
from hardpairs.data.shards import Fields
from hardpairs.data.stored_rows import RejectedRows, store_rows
from tests.file_server import in_memory
from tests.helpers import sample, write_tar

TEXTS = ("keys", "captions", "shards", "urls")
NUMBERS = ("images", "groups", "texts", "labelled", "positives")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(stored_rows, "TARS_AT_ONCE", 2)


@pytest.fixture
def grouped(tmp_path):
    """Three tars, some of whose samples have a URL, a hash, or a group; 999 means none."""
    for tar in range(3):
        samples = {}
        for i in range(4):
            number = 4 * tar + i
            facts = {"url": f"https://x/{number}", "sha256": f"h{number % 5}"}
            group = {"label": "999" if number == 6 else f"g{number % 3}"} if tar != 1 else {}
            samples[f"{number:04d}"] = sample(number, json=json.dumps({**facts, **group}).encode())
        write_tar(tmp_path / f"grouped/{tar}.tar", samples)
    return tmp_path / "grouped"


def assert_same(stored, opened):
    assert len(stored) == len(opened) and stored.fingerprint == opened.fingerprint
    for name in TEXTS:
        assert list(getattr(stored, name)) == list(getattr(opened, name))
    for name in NUMBERS:
        np.testing.assert_array_equal(getattr(stored, name), getattr(opened, name))
    assert dict(stored.rejected) == opened.rejected and stored.suffixes == opened.suffixes
    usable = [row for row in range(len(opened)) if row not in opened.rejected]
    assert [stored.image_bytes(i) for i in usable] == [opened.image_bytes(i) for i in usable]


def test_rows_of_shards(shards, tmp_path):
    store_rows(str(shards), tmp_path / "rows")
    assert_same(open_samples(tmp_path / "rows"), open_samples(shards))


def test_rows_with_groups(grouped, tmp_path):
    fields, unlabelled = Fields("label"), frozenset(["999"])
    stored = store_rows(str(grouped), tmp_path / "rows", fields=fields, unlabelled=unlabelled)
    assert_same(stored, open_samples(grouped, group_key="label", unlabelled=["999"]))
    assert stored.labelled.any() and not stored.labelled.all()
    rows = np.array([7, 2, 7])
    assert (stored.positives_of(rows) == stored.positives[rows]).all()


def test_no_column_is_in_memory(shards, tmp_path):
    rows = store_rows(str(shards), tmp_path / "rows")
    arrays = [getattr(rows, name) for name in NUMBERS[:-1]]
    arrays += [part for name in TEXTS[:3] for part in vars(getattr(rows, name)).values()]
    arrays += [rows.files.path_of_row, rows.files.offset, rows.files.size]
    for array in arrays:
        while isinstance(array, np.ndarray):
            array = array.base
        assert isinstance(array.obj, mmap.mmap)  # of a memoryview


def test_reasons_by_row():
    rows = RejectedRows(np.array([2, 5, 9]), np.array([0, 1, 0], np.uint8))
    expected = {2: "empty_caption", 5: "missing_image", 9: "empty_caption"}
    assert dict(rows) == expected and len(rows) == 3
    assert [row for row in range(12) if row in rows] == [2, 5, 9]


def test_rows_of_other_tars_are_refused(shards, tmp_path):
    store_rows(str(shards), tmp_path / "rows")
    shutil.copy(shards / "00002.tar", shards / "00000.tar")
    with pytest.raises(UserError, match="not the one whose rows") as error:
        open_samples(tmp_path / "rows")
    assert error.value.code == 4 and "00000.tar" in error.value.where


def test_unfinished_rows_are_refused(shards, tmp_path):
    store_rows(str(shards), tmp_path / "rows")
    (tmp_path / "rows/manifest.json").unlink()
    with pytest.raises(UserError, match=r"no manifest\.json") as error:
        open_samples(tmp_path / "rows")
    assert error.value.code == 3


def test_tars_behind_urls_must_be_allowed(shards, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    local = open_samples(shards)
    for sidecar in shards.glob("*.npz"):
        sidecar.unlink()
    store_rows(in_memory(shards), tmp_path / "rows")
    with pytest.raises(UserError, match="behind a URL"):
        open_samples(tmp_path / "rows")
    assert_same(open_samples(tmp_path / "rows", allow_remote=True), local)


@pytest.mark.parametrize("key", ["group", "label"])
def test_shards_that_cannot_be_opened_cannot_be_stored(tmp_path, shards, key):
    source = shards
    if key == "group":
        write_tar(tmp_path / "empty/0.tar", {})
        source = tmp_path / "empty"
    with pytest.raises(UserError) as opening:
        open_samples(source, group_key=key)
    with pytest.raises(UserError) as storing:
        store_rows(str(source), tmp_path / "rows", fields=Fields(key))
    assert storing.value.text() == opening.value.text()
    assert not (tmp_path / "rows/manifest.json").exists()
