"""The engine for accelerators: on the CPU in every run, on a GPU with ``pytest -m gpu``."""

import functools

import numpy as np
import pytest
import torch
from tqdm import tqdm

from hardpairs.core.errors import UserError
from hardpairs.core.progress import Progress
from hardpairs.mining import api, engine
from hardpairs.mining.api import Execution, kernel_data
from hardpairs.mining.engine import candidates, cuda, device_memory, lists
from hardpairs.mining.engine.cpu import CpuEngine
from hardpairs.mining.engine.cuda import CudaEngine
from hardpairs.mining.engine.device_rows import StreamedRows
from hardpairs.mining.engine.half_products import HalfProducts
from hardpairs.mining.list_blocks import ListBlocks
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.plan import make_plan
from hardpairs.mining.result import DatasetRows, ResultBuilder
from hardpairs.mining.unit_vectors import UnitVectors, write_unit_vectors
from tests.mining.reference import reference
from tests.mining.searches import assert_same, pool_of_row, search, themed
from tests.mining.thread_ranks import Threads, in_threads

gpu = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")],
)


CASES = {
    "plain": {},
    "image": {"method": "image"},
    "pool": {"approx": 90},
    "pools": {"approx": 90, "approx_targets": 70, "seed": 4},
    "weights": {"image_weight": 0.3, "max_image_score": 0.8, "min_score": 0.1},
    "ranks": {"range_min": 3, "range_max": 7},
    "margin": {"absolute_margin": 0.05},
    "cross-modal": {"method": "cross-modal", "max_score": 0.6, "min_text_score": 0.1},
    "cross-modal margin": {"method": "cross-modal", "absolute_margin": -0.1},
    "floor and groups": {
        "similarity_floor": 0.3,
        "max_score": 0.9,
        "groups": np.random.default_rng(0).integers(0, 40, (260, 2)),
        "exclude": np.array([3, 9]),
    },
}


@pytest.fixture
def through_device(monkeypatch):
    """Let searches use the engine for accelerators, wherever they run."""

    def prepare(tile: int, capacity: int) -> None:
        for module in (api, engine):
            monkeypatch.setattr(module, "is_accelerator", lambda device: True)
        for module in (cuda, candidates):
            monkeypatch.setattr(module, "ROWS_AT_ONCE", 50)
        monkeypatch.setattr(api, "DEVICE_TILE", tile)
        monkeypatch.setattr(candidates, "CAPACITY", capacity)

    return prepare


def data() -> tuple[np.ndarray, np.ndarray]:
    image, text = themed(260, 16), themed(260, 16, 1)
    image[7], text[30:60] = image[3], text[30]  # duplicates, and ties
    return image, text


@pytest.mark.parametrize("where", ["cpu", gpu])
@pytest.mark.parametrize("tile, capacity", [(50, 1 << 16), (300, 1 << 16), (128, 700)])
@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_reference(through_device, where, tile, capacity, case):
    """Lists, scores and counts; with room for 700 pairs most tiles are done again in quarters."""
    through_device(tile, capacity)
    image, text = data()
    result = search(image, text, 6, execution=Execution(where), **CASES[case])
    expected = dict(CASES[case])
    if "approx" in expected:
        expected["pool"] = pool_of_row(len(image), MiningOptions(**expected))
    assert_same(result, reference(image, text, 6, **expected))


@pytest.fixture
def streamed(through_device, monkeypatch):
    """Let searches have eight ranges of 20 rows on the device, and tell which rows are copied."""
    made = []

    class Counted(StreamedRows):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(cuda, "StreamedRows", Counted)
    monkeypatch.setattr(device_memory, "TILE_SIZES", 1)

    def prepare(rows, widths, groups=0, capacity=1 << 16):
        through_device(20, capacity)
        all_rows = {"rows": rows, "widths": widths, "groups": groups, "tile": 20}
        needed = device_memory.device_sizes(**all_rows, allowed=1 << 40)
        return needed.bytes - (rows - 160) * 2 * sum(widths), made

    return prepare


@pytest.mark.parametrize("where", ["cpu", gpu])
@pytest.mark.parametrize("capacity", [1 << 16, 300])
@pytest.mark.parametrize("case", CASES)
def test_rows_that_wait_in_the_host_change_nothing(streamed, where, capacity, case):
    image, text = data()
    widths = [16] if case == "image" else [16, 16]
    columns = 2 if "groups" in CASES[case] else 0
    allowed, made = streamed(260, widths, columns, capacity)
    result = search(
        image, text, 6, execution=Execution(where, max_device_memory=allowed), **CASES[case]
    )
    expected = dict(CASES[case])
    if "approx" in expected:
        expected["pool"] = pool_of_row(len(image), MiningOptions(**expected))
    assert_same(result, reference(image, text, 6, **expected))
    assert made and all(rows.copied for rows in made)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("megabytes", [2000, 2400])
def test_a_search_stays_within_the_device_memory(megabytes, capsys):
    rng = np.random.default_rng(0)
    image, text = (rng.standard_normal((200_000, 1024), np.float32) for _ in range(2))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    execution = Execution("cuda", max_device_memory=megabytes * 10**6, verbose=True)
    search(image, text, 6, execution=execution)
    assert "rows on the device at a time" in capsys.readouterr().err
    assert torch.cuda.max_memory_reserved() <= megabytes * 10**6


@pytest.mark.parametrize("where", ["cpu", gpu])
def test_lists_too_short_for_what_was_removed(through_device, where):
    """Nearly all pairs are duplicates: they do not fit, and are counted again."""
    through_device(64, 5000)
    rng = np.random.default_rng(0)
    image = np.concatenate(
        (np.ones((250, 8)) + 1e-3 * rng.normal(size=(250, 8)), 1 + rng.normal(size=(50, 8)))
    ).astype(np.float32)
    text = themed(300, 12)
    result = search(image, text, 4, execution=Execution(where))
    assert_same(result, reference(image, text, 4))


@pytest.mark.parametrize("where", ["cpu", gpu])
@pytest.mark.parametrize("rows", [1, 3])
def test_few_rows(through_device, where, rows):
    through_device(64, 5000)
    image = themed(4, 8, themes=1)[:rows]
    result = search(image, image, 3, duplicate_threshold=2.0, execution=Execution(where))
    assert (result.indices == reference(image, image, 3, duplicate_threshold=2.0)[0]).all()


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """Return a function that begins a search, and one that makes its progress anew."""
    progress = functools.partial(Progress, tmp_path / "work", {}, every=0.0)

    def begin(kind, tiles, *arguments, **options):
        """Stop the search before so many tiles were offered to an engine of a kind."""
        calls, offer = [], kind.offer

        def stop_later(self, *rest):
            calls.append(1)
            if len(calls) == tiles:
                raise KeyboardInterrupt
            offer(self, *rest)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(kind, "offer", stop_later)
            execution = Execution(progress=progress(), **options)
            search(*arguments, execution=execution)

    return begin, progress


@pytest.mark.parametrize("where", ["cpu", gpu])
def test_stopped_and_started_again(through_device, stopped, monkeypatch, where):
    through_device(40, 1 << 16)
    (image, text), (begin, progress) = data(), stopped
    expected = search(image, text, 6, execution=Execution(where))
    begin(CudaEngine, 12, image, text, 6, device=where)
    calls, offer = [], CudaEngine.offer
    monkeypatch.setattr(CudaEngine, "offer", lambda *rest: calls.append(1) or offer(*rest))
    result = search(image, text, 6, execution=Execution(where, progress=progress()))
    assert 0 < len(calls) < 28 - 10  # of 28 tiles
    assert (result.indices == expected.indices).all() and (result.scores == expected.scores).all()


def test_a_search_goes_on_with_less_of_the_device(streamed, stopped, capsys):
    """The order of its tiles stays that of the plan; the device has room for fewer rows."""
    (image, text), (begin, progress) = data(), stopped
    allowed, made = streamed(260, [16, 16])
    more = allowed + 60 * 2 * 32
    begin(CudaEngine, 40, image, text, 6, max_device_memory=more)
    execution = Execution(max_device_memory=allowed, progress=progress())
    assert_same(search(image, text, 6, execution=execution), reference(image, text, 6))
    assert [len(rows._free) + len(rows._held) for rows in made] == [11, 8]
    assert "begun anew" not in capsys.readouterr().err


@pytest.mark.parametrize("to_device", [True, False])
def test_another_kind_of_device_begins_anew(streamed, stopped, monkeypatch, capsys, to_device):
    """What is multiplied is stored in another precision, and not all of it may be there."""
    (image, text), (begin, progress) = data(), stopped
    with monkeypatch.context() as patch:
        if to_device:
            small = functools.partial(make_plan, tile=20)
            patch.setattr(api, "make_plan", small)
            begin(CpuEngine, 40, image, text, 6)
    allowed, _ = streamed(260, [16, 16])
    if not to_device:
        begin(CudaEngine, 40, image, text, 6, max_device_memory=allowed)
        for module in (api, engine):
            monkeypatch.setattr(module, "is_accelerator", lambda device: False)
    execution = Execution(max_device_memory=allowed, progress=progress())
    assert_same(search(image, text, 6, execution=execution), reference(image, text, 6))
    assert "another kind of device: begun anew" in capsys.readouterr().err


def units_of(image, text):
    """Return the unit vectors of both sides, in the order of their rows."""
    units = [np.empty(rows.shape, np.float32) for rows in (image, text)]
    for rows, out in zip((image, text), units, strict=True):
        write_unit_vectors(rows, np.arange(len(rows)), "", out)
    return units


@pytest.mark.parametrize("where", ["cpu", gpu])
def test_tiles_shared_by_ranks_make_the_same_lists(through_device, where):
    """Each rank has lists of all rows from its own tiles alone.

    Many of them lack the tile on the diagonal, which gives first thresholds.
    """
    through_device(30, 1 << 16)
    image, text = data()
    units = units_of(image, text)
    plan = make_plan(rows=260, pool=260, widths=[16, 16], depth=6, tile=30)
    known = kernel_data(units, np.arange(260), None, MiningOptions(), plan.depth)
    packed = []
    for rank in range(3):
        one = engine.open_engine(known, UnitVectors(units, units, [0.0, 0.0]), plan, where)
        blocks = ListBlocks(plan, one, None, Threads(rank, 3))
        packed.append(lists.pack(blocks.fill(0, 0, 260, tqdm(disable=True))))
    merged = lists.merge(lists.unpack(packed[0], 0, plan.capacity), packed[1:])
    decided = lists.decide_lists(known, merged)
    expected = reference(image, text, 6)
    assert (decided.indices == expected[0]).all() and (decided.scores == expected[1]).all()


@pytest.mark.parametrize("where", ["cpu", gpu])
def test_what_was_removed_from_merged_lists_is_counted_once(through_device, tmp_path, where):
    """One rank's list had no room for its near duplicates; the other one's brings some along."""
    through_device(60, 1 << 16)
    image, text = themed(260, 8), themed(260, 12)
    image[:150] = image[0]
    rows = np.random.default_rng(0).permutation(260)
    image, text, options = image[rows], text[rows], MiningOptions(top_k=4)
    units = units_of(image, text)
    plan = make_plan(rows=260, pool=260, widths=[8, 12], depth=4, tile=60)
    known = kernel_data(units, np.arange(260), None, options, plan.depth)

    def blocks(ranks):
        one = engine.open_engine(known, UnitVectors(units, units, [0.0, 0.0]), plan, where)
        return ListBlocks(plan, one, Progress(tmp_path / f"{ranks.rank}", {}), ranks)

    first, second = (
        blocks(Threads(rank, 2)).fill(0, 0, 260, tqdm(disable=True)) for rank in range(2)
    )
    used = np.arange(plan.capacity) < first.entries[:, None]
    brings = ((first.reason > 0) & used).any(axis=1)
    assert (brings & (second.overflowed > first.overflowed)).any()
    by_rank = in_threads(2, lambda ranks: list(blocks(ranks).run(False)))
    assert not by_rank[1]
    builder, top = ResultBuilder(DatasetRows.all(260), options), 0
    for decided in by_rank[0]:
        positions = np.arange(top, top + len(decided.indices))
        builder.add(decided, positions, plan.others(positions))
        top += len(positions)
    assert_same(builder.result(), reference(image, text, 4))


def test_short_memory_halves_the_blocks(through_device, monkeypatch, capsys):
    """A device with room for blocks of 40 rows, then one without room for the rows themselves."""
    through_device(200, 1 << 16)
    image, text = data()
    expected = reference(image, text, 6)
    make, most = HalfProducts.__init__, 40

    def short(self, rows, widths, block, where, **more):
        if block > most:
            raise torch.OutOfMemoryError("as CUDA says it")
        make(self, rows, widths, block, where, **more)

    monkeypatch.setattr(HalfProducts, "__init__", short)
    monkeypatch.setattr(cuda, "SMALLEST_BLOCK", 25)
    assert_same(search(image, text, 6), expected)
    assert "out of memory on cpu: starting with blocks of 25 rows" in capsys.readouterr().err
    most = 0
    with pytest.raises(UserError, match="no room for the rows") as error:
        search(image, text, 6)
    assert error.value.code == 5
