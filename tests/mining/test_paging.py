"""Mapped rows stay within the memory of the plan, and a search with few of them is the same."""

import dataclasses

import numpy as np
import pytest

from benchmarks.machine import PeakMemory
from hardpairs.core.memory import release
from hardpairs.data.stacked import Stacked, leave_to_disk
from hardpairs.mining import api
from hardpairs.mining.paging import Paging
from hardpairs.mining.plan import make_plan
from tests.helpers import run
from tests.mining.searches import assert_same, one_space, search

MB = 1 << 20


def mapped(path, rows: int = 64) -> np.ndarray:
    """Return rows of a megabyte each in a mapped file."""
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(rows, MB))


def test_no_more_rows_are_in_memory_than_may_be(tmp_path):
    rows = np.load(mapped(tmp_path / "a.npy").filename, mmap_mode="r+")
    paging, peak = Paging([rows], 8), PeakMemory()
    for start, stop in paging.pieces(0, 64, reads=2):
        paging.expect(stop - start)
        rows[start:stop] = 7
    assert peak.gigabytes() < 0.02
    assert (rows == 7).all()


def test_pieces_make_up_a_range():
    assert Paging([], 0).pieces(3, 90) == [(3, 90)]
    assert Paging([], 40).pieces(3, 90, reads=2) == [
        (3, 23),
        (23, 43),
        (43, 63),
        (63, 83),
        (83, 90),
    ]
    assert Paging([], 4).pieces(0, 2, reads=9) == [(0, 1), (1, 2)]
    assert Paging([], 4).pieces(5, 5) == []


def test_what_is_not_in_a_file_stays(tmp_path):
    """A map whose changes are private would lose them, a slice is not all of its addresses."""
    mapped(tmp_path / "a.npy", 4).flush()
    private = np.load(tmp_path / "a.npy", mmap_mode="c")
    private[:] = 3
    own = np.full((4, MB), 5, np.uint8)
    for rows in (private, own, own[::-1], Stacked([private, own])):
        leave_to_disk(rows)
    assert (private == 3).all() and (own == 5).all()
    release(own[:0])


def test_few_rows_in_memory_change_nothing(monkeypatch):
    """With a margin, and more near duplicates than a list has room for."""
    image, text = one_space(330)
    image[100:180] = image[100]
    options = {"method": "cross-modal", "relative_margin": 0.1}
    expected = search(image, text, 5, **options)

    def small(**sizes):
        plan = make_plan(**sizes, tile=16, product_block=16)
        return dataclasses.replace(plan, list_block=60, mapped=True, resident=40)

    monkeypatch.setattr(api, "make_plan", small)
    result = search(image, text, 5, **options)
    assert_same(result, (expected.indices, expected.scores, expected.kept, expected.removed))


MEASURE = """
import os, sys
import numpy as np
from benchmarks.machine import PeakMemory
from hardpairs.mining.api import Execution, MiningOptions, search
os.chdir(sys.argv[2])
rng = np.random.default_rng(0)
centers = rng.normal(size=(500, 384)).astype(np.float32)
for name in ("a.npy", "b.npy"):
    rows = np.lib.format.open_memmap(name, mode="w+", dtype=np.float32, shape=(24000, 384))
    for start in range(0, 24000, 1000):
        noise = rng.normal(size=(1000, 384)).astype(np.float32)
        rows[start : start + 1000] = centers[rng.integers(0, 500, 1000)] + noise
    del rows
image, text = (np.load(name, mmap_mode="r") for name in ("a.npy", "b.npy"))
search(np.array(image[:3000]), np.array(text[:3000]), MiningOptions(top_k=5))  # loads the loops
peak = PeakMemory()
search(image, text, MiningOptions(top_k=5), execution=Execution(max_memory=int(sys.argv[1]), verbose=True))
print(peak.gigabytes())
"""


@pytest.mark.slow
def test_rows_stream_from_their_files(tmp_path):
    """74 MB of embeddings and as many or more of unit vectors, none of which need fit into memory."""
    done = run("python", "-c", MEASURE, "140000000", str(tmp_path), fresh=True)
    assert done.returncode == 0 and "mapped from disk" in done.stderr, done.stderr
    assert float(done.stdout) <= 0.14, done.stderr
