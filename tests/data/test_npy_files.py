"""Arrays of strangers: a memory map, or ValueError."""

import numpy as np
import pytest

from hardpairs.data import npy_files
from hardpairs.data.npy_files import map_array, row_blocks

HEADER = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }"


def npy(shape: bytes, data: bytes = bytes(64)) -> bytes:
    header = (HEADER % shape).ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def test_an_array_is_mapped(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(b"4, 4"))
    array = map_array(tmp_path / "a.npy")
    assert isinstance(array, np.memmap) and array.shape == (4, 4) and not array.any()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\x93NUMPY\x01\x00", npy(b"4, 4")[:90], npy(b"5, 4"), npy(b"1 << 40, 4")),
        *(npy(b"1099511627776, 4"), npy(b"9" * 30 + b", 4"), npy(b"-1, 4"), npy(b"'a', 4")),
        *(npy(b"4, 4").replace(b"{", b"("), npy(b"4, 4").replace(b"<f4", b"|O8"), npy(b"'''")),
    ],
)
def test_what_is_none(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError):
        map_array(tmp_path / "a.npy")


def test_no_file_and_several_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    for name in ("a.npy", "gone.npy"):
        with pytest.raises(ValueError):
            map_array(tmp_path / name)


def test_blocks_of_rows_make_up_the_arrays(monkeypatch, tmp_path):
    np.save(tmp_path / "a.npy", np.arange(60).reshape(20, 3))
    mapped, lengths = np.load(tmp_path / "a.npy", mmap_mode="r+"), np.arange(20)
    monkeypatch.setattr(npy_files, "ENTRIES_AT_ONCE", 22)
    blocks = list(row_blocks(mapped, lengths))
    assert [start for start, _ in blocks] == [0, 7, 14]
    for side, whole in enumerate((mapped, lengths)):
        assert (np.concatenate([rows[side] for _, rows in blocks]) == whole).all()
    for _, (rows, _) in row_blocks(mapped, lengths):
        rows[:] = 7
    assert (np.load(tmp_path / "a.npy") == 7).all()
    assert not list(row_blocks(np.zeros((0, 3))))
