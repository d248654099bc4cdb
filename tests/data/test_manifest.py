"""Manifests notice every change; fingerprints keep the borders of their fields."""

import json

import pytest

from hardpairs.core.atomic import write_json
from hardpairs.core.errors import Exit, UserError
from hardpairs.data.manifest import (
    _own_hash,
    check_same_dataset,
    dataset_fingerprint,
    read_manifest,
    sha256_file,
    write_manifest,
)


def test_fingerprint_keeps_field_borders():
    assert dataset_fingerprint([("", "ab", "c")]) != dataset_fingerprint([("", "a", "bc")])


def test_every_change_is_noticed(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"1234")
    written = write_manifest(tmp_path, {"kind": "x"}, ["a.npy"])
    assert read_manifest(tmp_path, verify=True) == written
    assert written["files"]["a.npy"]["sha256"] == sha256_file(tmp_path / "a.npy")
    for content, verify in ((b"12345", False), (b"1235", True)):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(UserError) as error:
            read_manifest(tmp_path, verify=verify)
        assert error.value.code == Exit.MISMATCH
    (tmp_path / "a.npy").write_bytes(b"1234")
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**written, "kind": "y"}, indent=2) + "\n")
    with pytest.raises(UserError, match="was changed") as error:
        read_manifest(tmp_path)
    assert error.value.code == Exit.MISMATCH
    path.unlink()
    with pytest.raises(UserError, match="no manifest") as error:
        read_manifest(tmp_path)
    assert error.value.code == Exit.BAD_INPUT


def test_things_of_other_data_are_not_joined():
    check_same_dataset("a", "a", ours_name="the data", theirs_name="the table")
    check_same_dataset("a", None, ours_name="the data", theirs_name="the table")
    with pytest.raises(UserError, match="the table was made from other data") as error:
        check_same_dataset("a", "b", ours_name="the data", theirs_name="the table")
    assert error.value.code == Exit.MISMATCH


def test_a_name_that_no_file_can_have_is_missing(tmp_path):
    manifest = {"files": {"a" * 300: {"bytes": 0, "sha256": ""}}}
    write_json(tmp_path / "manifest.json", {**manifest, "sha256": _own_hash(manifest)})
    with pytest.raises(UserError, match="is missing"):
        read_manifest(tmp_path)
