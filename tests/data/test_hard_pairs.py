"""The table: round trips, HELIP's files, and every damage noticed."""

import json
import os
import time

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data import hard_pairs
from hardpairs.data.hard_pairs import (
    FILES,
    HardPairTable,
    check_table,
    open_hard_pairs,
    table_folder,
    write_helip,
    write_table,
)
from tests.helpers import ragged_table


@pytest.fixture
def written(tmp_path):
    indices, scores = ragged_table(30, 5)
    table = write_table(
        table_folder(tmp_path, "x"), indices, scores, {"dataset_fingerprint": "abc"}
    )
    write_helip(tmp_path, "x", table)
    return tmp_path, indices, scores


def test_round_trip(written):
    folder, indices, scores = written
    table = HardPairTable.open(table_folder(folder, "x"), verify=True)
    assert (
        (table.indices == indices).all()
        and (table.scores == scores).all()
        and table.fingerprint == "abc"
    )
    assert isinstance(table.indices, np.memmap) and table.indices.dtype == np.int32
    for kind in ("_hard_sample.csv", "_hard_sample_dict.json", "_hard_pairs"):
        assert (open_hard_pairs(folder / f"x{kind}", num_samples=30).indices == indices).all()


def test_helip_files_are_helips(written):
    folder, indices, _ = written
    lines = (folder / "x_hard_sample.csv").read_text().splitlines()
    assert lines == [
        ",".join(map(str, [row, *(i for i in partners if i >= 0)]))
        for row, partners in enumerate(indices.tolist())
    ]
    assert json.loads((folder / "x_hard_sample_dict.json").read_text()) == {
        str(row): [i for i in p if i >= 0] for row, p in enumerate(indices.tolist())
    }


def test_mapped_blocks_are_written_as_arrays_are(written, tmp_path, monkeypatch):
    """Block by block, from arrays of the table's kinds in files: the same bytes."""
    folder, indices, scores = written
    for name, array in (("i", indices.astype(np.int32)), ("s", scores)):
        np.save(tmp_path / f"{name}.npy", array)
    mapped = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "is")
    monkeypatch.setattr("hardpairs.data.npy_files.ENTRIES_AT_ONCE", 17)
    made = {"dataset_fingerprint": "abc"}
    write_helip(tmp_path, "y", write_table(table_folder(tmp_path, "y"), *mapped, made))
    for name in (*FILES, "manifest.json"):
        one, other = (table_folder(folder, kind) / name for kind in "xy")
        assert one.read_bytes() == other.read_bytes()
    for ending in ("_hard_sample.csv", "_hard_sample_dict.json"):
        one, other = (folder / f"{kind}{ending}" for kind in "xy")
        assert one.read_bytes() == other.read_bytes()
    assert np.load(table_folder(folder, "x") / "lengths.npy").tolist() == [
        sum(pair >= 0 for pair in row) for row in indices.tolist()
    ]


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_every_flipped_byte_and_every_cut_is_noticed(tmp_path, name):
    """All of them: each length, and at each place a low bit, a high bit, all bits, and what turns white space into other white space."""
    folder = table_folder(tmp_path, "x")
    write_table(
        folder,
        *ragged_table(9, 4),
        {"dataset_fingerprint": "abc", "options": {"duplicate_threshold": 2.0}},
    )
    whole = (folder / name).read_bytes()
    damaged = [whole[:cut] for cut in range(len(whole))] + [whole + b"\n"]
    damaged += [
        whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
        for at in range(len(whole))
        for flip in (1, 128, 255, 0x29, 0x2A)
    ]
    missed = []
    for content in damaged:
        (folder / name).write_bytes(content)
        try:
            HardPairTable.open(folder, verify=True)
        except UserError as error:
            assert error.code in (3, 4)
        else:
            missed.append(content)
    assert not missed
    (folder / name).write_bytes(whole)
    HardPairTable.open(folder, verify=True)


def test_foreign_helip_file_is_converted_once_and_checked(tmp_path):
    path = tmp_path / "old_hard_sample.csv"
    path.write_text("0,1.0,2\r\n2,0\r\n")
    table = open_hard_pairs(path, num_samples=3)
    assert table.indices.tolist() == [[1, 2], [-1, -1], [0, -1]] and table.fingerprint is None
    stamp = (tmp_path / "old_hard_sample_hard_pairs_converted/manifest.json").stat().st_mtime_ns
    open_hard_pairs(path, num_samples=3)
    assert (
        tmp_path / "old_hard_sample_hard_pairs_converted/manifest.json"
    ).stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0,3\n", "not a row number"),
        ("0,0\n", "lists itself"),
        ("0,1,1\n", "a hard pair twice"),
        ("0,1\n0,2\n", "row 0 occurs twice"),
        ("7,1\n", "target row 7 is not in the data"),
        ("0,99999999999999999999999\n", "not a row number"),
        ("0,-5\n", "padding|not a row number"),
        ("a,b\n", "not a hard pair file"),
        ("0,1.7,2\n", "not a hard pair file"),
        ("0,1.e999\n", "not a hard pair file"),
        ('{"0": [1.7, 2]}', "not a hard pair file"),
        ('{"0": [true]}', "not a hard pair file"),
    ],
)
def test_bad_foreign_files(tmp_path, text, says):
    path = tmp_path / ("old.json" if text.startswith("{") else "old_hard_sample.csv")
    path.write_text(text)
    with pytest.raises(UserError, match=says) as error:
        open_hard_pairs(path, num_samples=3)
    assert error.value.code in (3, 4)


def test_a_fault_is_named_by_its_row_however_far_down(monkeypatch):
    indices, scores = ragged_table(30, 5, fullest=True)
    monkeypatch.setattr("hardpairs.data.npy_files.ENTRIES_AT_ONCE", 40)
    check_table(indices, np.full(30, 5), scores, where="t")
    indices[21, 3] = 21
    with pytest.raises(UserError, match=r"lists itself\n  where: t, row 21\n"):
        check_table(indices, np.full(30, 5), scores, where="t")


def test_table_of_another_size_and_no_table(written, tmp_path):
    with pytest.raises(UserError, match="30 rows, the data 31") as error:
        open_hard_pairs(written[0] / "x_hard_sample.csv", num_samples=31)
    assert error.value.code == 4
    with pytest.raises(UserError) as error:
        open_hard_pairs(tmp_path / "nothing.csv", num_samples=31)
    assert error.value.code == 2


def test_processes_that_open_a_foreign_file_at_once_convert_it_once(tmp_path, monkeypatch):
    path, made, write = tmp_path / "foreign.csv", tmp_path / "made", hard_pairs.write_table
    path.write_text("0,1,2\n1,0\n2,0\n")

    def counted(*args):
        with open(made, "a") as file:
            file.write("x")
        time.sleep(0.1)
        return write(*args)

    monkeypatch.setattr(hard_pairs, "write_table", counted)
    children = []
    for _ in range(4):
        children.append(os.fork())
        if not children[-1]:
            table = open_hard_pairs(path, num_samples=3)
            os._exit(int(table.lengths.tolist() != [2, 1, 1]))
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert made.read_text() == "x"
