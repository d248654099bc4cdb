"""Arrays that take memory only where they are written."""

import numpy as np

from benchmarks.machine import PeakMemory
from hardpairs.core.memory import release, reserve


def test_an_array_larger_than_memory_takes_what_is_written():
    rows = reserve((1 << 28, 1024), np.float32)  # 1 TB
    rows[1 << 27] = 1
    assert rows[1 << 27].sum() == 1024 and rows[-1].sum() == 0
    assert reserve((0, 5), np.uint16).shape == (0, 5)


def test_memory_is_given_back():
    rows = reserve((64, 1 << 20), np.uint8)
    peak = PeakMemory()
    for start in range(0, 64, 4):
        rows[start : start + 4] = 1
        release(rows[start : start + 4])
    assert not rows.any()
    assert peak.gigabytes() < 0.03


def test_neighbors_in_the_same_page_stay():
    rows = reserve((30, 1000), np.uint8)
    rows[:] = 1
    release(rows[3:17])
    assert (rows[:3] == 1).all() and (rows[17:] == 1).all()


def test_a_mapped_file_is_read_again(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((100, 1000), np.float32))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r+")
    rows[50] = 2
    release(rows)
    assert (rows[50] == 2).all() and (rows[:50] == 1).all()
