"""Results by row number of a data set, in memory and in mapped files."""

import numpy as np
import pytest

from hardpairs.core.progress import Progress
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.mining import result as results
from hardpairs.mining.api import hard_pairs
from hardpairs.mining.engine.kernel import REASONS, Decided
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.result import DatasetRows, ResultBuilder
from tests.helpers import run, torchrun

INDICES = np.array([[1, -1], [0, 2], [1, 0]])
SCORES = np.float32([[3, 0], [2, 1], [2, 1]])


@pytest.mark.parametrize("at_once", [2, 1024])
@pytest.mark.parametrize("mapped", [True, False])
def test_lists_stand_where_their_rows_are_in_the_data(mapped, at_once, tmp_path, monkeypatch):
    """Three of six rows, added in search order; the others have empty lists."""
    monkeypatch.setattr(results, "ROWS_AT_ONCE", at_once)
    rows, order = DatasetRows(np.array([2, 3, 5]), 6), np.array([2, 0, 1])
    progress = Progress(tmp_path / "p", {}) if mapped else None
    builder = ResultBuilder(rows, MiningOptions(top_k=2), progress)
    removed = np.zeros((3, REASONS), np.int64)
    removed[:, 1] = 1, 0, 3
    builder.add(Decided(INDICES[order], SCORES[order], removed, np.zeros(3)), order, np.full(3, 2))
    found = builder.result()
    none = [-1, -1]
    assert found.indices.tolist() == [none, none, [3, -1], [2, 5], none, [3, 2]]
    assert found.scores[rows.numbers].tolist() == SCORES.tolist()
    assert not found.scores[[0, 1, 4]].any()
    assert (found.kept, found.removed["known_positive"]) == (5, 4)
    assert found.counts["candidates"] == 9
    assert isinstance(found.indices, np.memmap) == mapped == (builder.memory == 0)


ADD = """
import sys
import numpy as np
from benchmarks.machine import PeakMemory
from hardpairs.core.progress import Progress
from hardpairs.data.hard_pairs import write_table
from hardpairs.mining.engine.kernel import REASONS, Decided
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.pair_statistics import summary
from hardpairs.mining.result import DatasetRows, ResultBuilder
count, top_k = 40_000, 200
options, order = MiningOptions(top_k=top_k), np.random.default_rng(0).permutation(count)
peak = PeakMemory()
builder = ResultBuilder(DatasetRows.all(count), options, Progress(sys.argv[1] + "/work", {}))
for rows in np.split(order, 20):
    listed = (rows[:, None] + np.arange(1, top_k + 1)) % count
    scores = np.broadcast_to(np.linspace(1, 0.5, top_k, dtype=np.float32), listed.shape)
    none = np.zeros((len(rows), REASONS), np.int64)
    builder.add(Decided(listed, scores, none, none[:, 0]), rows, none[:, 0])
result = builder.result().without_noise(options)
table = write_table(sys.argv[1] + "/table", result.indices, result.scores, {"kind": "hard_pairs"})
assert summary(table)["most_listed"] == top_k and result.kept == count * top_k
print(peak.gigabytes())
"""


def test_a_result_in_files_takes_the_memory_of_some_rows(tmp_path):
    """Its table has 64 MB, and was 96 MB in memory."""
    done = run("python", "-c", ADD, str(tmp_path))
    assert done.returncode == 0 and float(done.stdout) < 0.035, done.stdout + done.stderr


MINE = """
import sys
import numpy as np
from benchmarks.machine import PeakMemory
from hardpairs.cli.mine import main
from hardpairs.mining.api import hard_pairs
image, text = (np.load(sys.argv[1] + name) for name in ("/a.npy", "/b.npy"))
hard_pairs(image[:1000], text[:1000], top_k=5)  # loads the compiled loops
peak = PeakMemory()
main(["--image-embeddings", sys.argv[1] + "/a.npy", "--text-embeddings", sys.argv[1] + "/b.npy"]
     + sys.argv[2:])
assert peak.gigabytes() <= 0.11, peak.gigabytes()
"""


def test_processes_in_a_ring_have_no_room_for_all_results(tmp_path):
    """The lists of all rows are 77 MB, of the 110 MB that each process may take for everything."""
    for name, seed in (("a", 0), ("b", 1)):
        rows = np.random.default_rng(seed).normal(size=(8000, 8))
        np.save(tmp_path / f"{name}.npy", np.abs(rows).astype(np.float32))
    (tmp_path / "mine.py").write_text(MINE)
    flags = ("--dataset", "x", "--topk", "400", "--approx", "450", "--device", "cpu")
    limits = ("--rows", "ring", "--max-memory", "110M", "--save-path", str(tmp_path / "out"))
    done = torchrun(2, str(tmp_path / "mine.py"), str(tmp_path), *flags, *limits)
    assert done.returncode == 0 and "2 blocks of 4096 lists" in done.stderr, done.stderr
    table = HardPairTable.open(tmp_path / "out/x_hard_pairs", verify=True)
    image, text = (np.load(tmp_path / f"{name}.npy") for name in "ab")
    indices, scores = hard_pairs(image, text, top_k=400, approx=450)
    assert (table.indices == indices).all() and (table.scores == scores).all()
