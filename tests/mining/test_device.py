"""The search through an accelerator's interface: on the CPU in every run, on a GPU with ``pytest -m gpu``."""

import functools
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from tqdm import tqdm

from hardpairs.core.errors import UserError
from hardpairs.core.ranks import Ranks
from hardpairs.mining import device, hits, kernel, search, seeds
from hardpairs.mining.bound import similarity_error
from hardpairs.mining.device import HalfProducts, own_device
from hardpairs.mining.filters import Filters
from hardpairs.mining.hits import ROUNDING, UNDERFLOW, Bounds, Hits, Side
from hardpairs.mining.plan import make_plan
from hardpairs.mining.rows import UnitRows, write_unit_rows
from hardpairs.mining.strips import Strips
from hardpairs.mining.sweep import factor_tables, merged, packed, unpacked
from hardpairs.mining.work import Work
from tests.helpers import ROOT
from tests.mining.reference import dots, reference, unit
from tests.mining.test_search import themed

gpu = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")],
)
VALUES = (
    torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(torch.float16).float().numpy()
)
MODES = {"single": kernel.SINGLE, "product": kernel.PRODUCT, "weighted": kernel.WEIGHTED}


def make_bounds(mode: int, where: str) -> Bounds:
    data = kernel.Data(*[None] * 6, mode, 0.3, 0.0)
    errors = (0.001, 0.002)
    return Bounds(
        mode,
        0.3,
        errors,
        torch.from_numpy(factor_tables(data, list(errors), VALUES, ROUNDING)).to(where),
    )


def finders(where: str) -> list:
    """Plain torch, and triton's where it can run: on a GPU, or on the CPU in triton's interpreter."""
    found = [hits.append_hits]
    if importlib.util.find_spec("triton") and (
        where == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
    ):
        from hardpairs.mining import hits_triton

        found.append(hits_triton.append_hits)
    return found


def found_in(found: Hits, mode: int) -> list[tuple]:
    count = int(found.count)
    codes = found.codes[:count, : 1 if mode == kernel.SINGLE else 2]
    return sorted(
        zip(
            found.slots[:count].tolist(),
            found.others[:count].tolist(),
            map(tuple, codes.tolist()),
            strict=True,
        )
    )


def naive_hits(first, second, bounds: Bounds, rows: Side, columns: Side) -> tuple[set, set]:
    """Pairs that are hits, and those that may be: float64 bounds, with room for the rounding of float32 ones."""
    sure, maybe = [], []
    for r in range(first.shape[0]):
        for c in range(first.shape[1]):
            factors = [
                float(block[r, c]) + abs(float(block[r, c])) * ROUNDING + e
                for block, e in zip((first, second), bounds.errors, strict=True)
            ]
            if bounds.mode == kernel.SINGLE:
                score = factors[0]
            elif bounds.mode == kernel.PRODUCT:
                score = max(factors[0], 0) * factors[1]
            else:
                score = max(factors[0], 0) ** 0.6 * max(factors[1], 0) ** 1.4
            for side, own, other_side, other in ((rows, r, columns, c), (columns, c, rows, r)):
                if side.thresholds is not None:
                    pair, threshold = (
                        (side.slot + own, other_side.number + other),
                        float(side.thresholds[own]),
                    )
                    sure += [pair] * (score * (1 - 1e-6) > threshold)
                    maybe += [pair] * (score * (1 + 1e-6) > threshold)
    return sorted(sure), sorted(maybe)


@pytest.mark.parametrize("where", ["cpu", gpu])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sides", ["both", "rows"])
def test_hits_are_all_pairs_above_a_threshold(where, mode, sides):
    rng = np.random.default_rng(0)
    first, second = (
        torch.from_numpy(rng.uniform(-0.5, 1, (37, 301))).half().to(where) for _ in range(2)
    )
    thresholds = [
        torch.from_numpy(rng.uniform(0.5, 0.9, count).astype(np.float32)).to(where)
        for count in first.shape
    ]
    rows, columns = (
        Side(1000, 30, thresholds[0]),
        Side(5000, 500, thresholds[1] if sides == "both" else None),
    )
    bounds = make_bounds(MODES[mode], where)
    sure, maybe = naive_hits(first, second, bounds, rows, columns)
    assert len(sure) > 100 and (len(sure) < len(maybe) + 1)
    for append_hits in finders(where):
        found = Hits(40_000, where)
        append_hits(first, second, bounds, rows, columns, found)
        pairs = found_in(found, bounds.mode)
        assert set(sure) <= {pair[:2] for pair in pairs} <= set(maybe) and len(sure) <= len(
            pairs
        ) <= len(maybe)
        for slot, other, codes in pairs:  # the codes are the pair's own
            r, c = (slot - 30, other - 5000) if slot < 500 else (other - 1000, slot - 500)
            assert (
                VALUES[np.array(codes, np.int16).view(np.uint16)].tolist()
                == [float(b[r, c]) for b in (first, second)][: len(codes)]
            )
    if len(finders(where)) > 1:
        both = []
        for append_hits in finders(where):
            found = Hits(40_000, where)
            append_hits(first, second, bounds, rows, columns, found)
            both.append(found_in(found, bounds.mode))
        assert (
            len(set(both[0]) ^ set(both[1])) <= 2
        )  # float32 sums of two kernels, at a threshold itself


@pytest.mark.parametrize("where", ["cpu", gpu])
def test_more_hits_than_room_are_counted_and_not_written(where):
    block = torch.ones(40, 50, dtype=torch.float16, device=where)
    sides = [Side(0, 0, torch.zeros(40, device=where)), Side(0, 40, torch.zeros(50, device=where))]
    for append_hits in finders(where):
        found = Hits(3000, where)
        found.slots, beyond = found.slots[:1000], found.slots[1000:].fill_(7)
        append_hits(block, block, make_bounds(kernel.PRODUCT, where), *sides, found)
        assert int(found.count) == 2 * 40 * 50 and (beyond == 7).all()


@pytest.mark.parametrize("where", ["cpu", gpu])
@pytest.mark.parametrize("width", [1, 24, 384, 769])
def test_no_similarity_is_further_off_than_the_bound(where, width):
    """Rows whose components lie just below the middle of two float16 numbers."""
    rng = np.random.default_rng(0)
    bits = (
        (rng.normal(size=(200, width)).astype(np.float32) / np.sqrt(width))
        .astype(np.float32)
        .view(np.uint32)
    )
    rows = ((bits & 0xFFFFE000) | 0xFFF).view(np.float32)
    rows[100:] = np.abs(rows[100:])
    rows = unit(rows).astype(np.float32)
    kept = rows.copy()
    products = HalfProducts([rows], 200, own_device(where))
    values = products(slice(0, 200), slice(0, 200))[0].double().cpu().numpy()
    off = np.abs(values - dots(rows.astype(np.float64), rows.astype(np.float64)))
    assert (off <= ROUNDING * np.abs(values) + products.errors[0]).all()
    assert (
        products.errors[0] < similarity_error(width, 2.0**-11) + UNDERFLOW and (rows == kept).all()
    )


needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)


@needs_triton
@pytest.mark.slow
def test_triton_kernel_in_its_interpreter():
    """The tests above, with the kernel's operations done by triton on the CPU; set before triton is imported, so in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        __file__,
        "-k",
        "hits_are_all or more_hits_than_room",
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("mode", MODES)
def test_triton_kernel_compiles_for_a_gpu(capability, mode):
    """To machine code, where there is no such GPU; the interpreter takes what the compiler refuses."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from hardpairs.mining import hits_triton

    pointers = {
        "first": "*fp16",
        "second": "*fp16",
        "count": "*i64",
        "slots": "*i32",
        "others": "*i32",
        "codes_out": "*i32",
    }
    thresholds = dict.fromkeys(("row_thresholds", "column_thresholds", "tables"), "*fp32")
    numbers = dict.fromkeys(
        ("height", "width", "row_number", "row_slot", "column_number", "column_slot", "capacity"),
        "i32",
    )
    floats = dict.fromkeys(("rounding", "first_error", "second_error"), "fp32")
    names = hits_triton._find.arg_names
    signature = {
        name: (pointers | thresholds | numbers | floats).get(name, "constexpr") for name in names
    }
    values = {
        "MODE": MODES[mode],
        "BY_ROW": True,
        "BY_COLUMN": True,
        "ROWS": hits_triton.ROWS,
        "COLUMNS": hits_triton.COLUMNS,
    }
    source = ASTSource(
        hits_triton._find,
        signature,
        {(names.index(name),): value for name, value in values.items()},
    )
    made = compile(
        source, target=GPUTarget("cuda", capability, 32), options={"num_warps": hits_triton.WARPS}
    )
    assert len(made.asm["cubin"]) > 1000 and "atom" in made.asm["ptx"]


FILTERS = {
    "plain": {},
    "image": {"method": "image"},
    "pool": {"pool": 90},
    "weights": {"filters": Filters(image_weight=0.3, max_image_score=0.8, min_score=0.1)},
    "ranks": {"filters": Filters(range_min=3, range_max=7)},
    "margin": {"filters": Filters(absolute_margin=0.05)},
    "floor and groups": {
        "filters": Filters(similarity_floor=0.3, max_score=0.9),
        "groups": True,
        "exclude": np.array([3, 9]),
    },
}


@pytest.fixture
def through_device(monkeypatch):
    """Searches go through ``hardpairs.mining.device``, wherever it is."""

    def prepare(tile: int, capacity: int) -> None:
        monkeypatch.setattr(search, "runs_on_device", lambda device: True)
        monkeypatch.setattr(search, "DEVICE_TILE", tile)
        monkeypatch.setattr(device, "CAPACITY", capacity)
        monkeypatch.setattr(seeds, "ROWS_AT_ONCE", 50)

    return prepare


def data(groups: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    image, text = themed(260, 16), themed(260, 16, 1)
    image[7], text[30:60] = image[3], text[30]  # duplicates, and ties
    return image, text, np.random.default_rng(0).integers(0, 40, (260, 2)) if groups else None


@pytest.mark.parametrize("where", ["cpu", gpu])
@pytest.mark.parametrize("tile, capacity", [(50, 1 << 16), (300, 1 << 16), (128, 700)])
@pytest.mark.parametrize("case", FILTERS)
def test_equal_to_the_reference(through_device, where, tile, capacity, case):
    """Lists, scores and counts; with room for 700 pairs most tiles are done again in parts."""
    through_device(tile, capacity)
    options = {"filters": Filters(), **FILTERS[case]}
    image, text, options["groups"] = data(options.get("groups", False))
    approx = options.pop("pool", None)
    found = search.search(image, text, top_k=6, approx=approx, device=where, **options)
    if approx:
        options["pool"] = set(
            search._search_order([image, text], None, approx, 0, "cpu")[0][:approx].tolist()
        )
    options["exclude"] = options.get("exclude", ())
    indices, scores, kept, removed = reference(image, text, 6, **options)
    assert (found.indices == indices).all() and (found.scores == scores).all()
    assert found.kept == kept and found.removed == removed


@pytest.mark.parametrize("where", ["cpu", gpu])
def test_lists_too_short_for_what_was_removed(through_device, where):
    """Nearly all partners are duplicates: they do not fit, and are counted again."""
    through_device(64, 5000)
    rng = np.random.default_rng(0)
    image = np.concatenate(
        (np.ones((250, 8)) + 1e-3 * rng.normal(size=(250, 8)), 1 + rng.normal(size=(50, 8)))
    ).astype(np.float32)
    text = themed(300, 12)
    found = search.search(image, text, top_k=4, filters=Filters(), device=where)
    indices, scores, kept, removed = reference(image, text, 4)
    assert (found.indices == indices).all() and (found.scores == scores).all()
    assert found.kept == kept and found.removed == removed


@pytest.mark.parametrize("where", ["cpu", gpu])
@pytest.mark.parametrize("rows", [1, 3])
def test_few_rows(through_device, where, rows):
    through_device(64, 5000)
    image = themed(4, 8, themes=1)[:rows]
    found = search.search(
        image, image, top_k=3, filters=Filters(duplicate_threshold=2.0), device=where
    )
    assert (found.indices == reference(image, image, 3, Filters(duplicate_threshold=2.0))[0]).all()


@pytest.mark.parametrize("where", ["cpu", gpu])
def test_stopped_and_started_again(through_device, tmp_path, monkeypatch, where):
    through_device(40, 1 << 16)
    image, text, _ = data()
    expected = search.search(image, text, top_k=6, filters=Filters(), device=where)
    calls = []
    tile = device.DeviceSweep.tile

    def stop_later(self, *arguments):
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt
        tile(self, *arguments)

    monkeypatch.setattr(device.DeviceSweep, "tile", stop_later)
    work = functools.partial(Work, tmp_path / "work", dict, every=0.0)
    with pytest.raises(KeyboardInterrupt):
        search.search(image, text, top_k=6, filters=Filters(), device=where, work=work())
    before = len(calls)
    found = search.search(image, text, top_k=6, filters=Filters(), device=where, work=work())
    assert len(calls) - before < 28 - 10  # of 28 tiles
    assert (found.indices == expected.indices).all() and (found.scores == expected.scores).all()


@pytest.mark.parametrize("where", ["cpu", gpu])
@pytest.mark.parametrize("mode", MODES)
def test_first_thresholds_are_below_the_kth_kept_score(where, mode):
    rng = np.random.default_rng(0)
    exact = [rng.uniform(-0.2, 1, (30, 400)) for _ in range(2)]
    bounds = make_bounds(MODES[mode], where)
    blocks = [
        torch.from_numpy(block + rng.uniform(-1, 1, block.shape) * e).half().to(where)
        for block, e in zip(exact, bounds.errors, strict=True)
    ]
    limits = Filters(duplicate_threshold=0.9, similarity_floor=0.1, max_score=0.7).limits(
        "image" if mode == "single" else "HPM"
    )
    related = torch.from_numpy(rng.random((30, 400)) < 0.2)
    found = (
        seeds.first_thresholds(*blocks, bounds, limits.tolist(), related.to(where), 20)
        .cpu()
        .numpy()
    )
    one, other = exact
    score = {
        "single": one,
        "product": one.clip(0) * other.clip(0),
        "weighted": one.clip(0) ** 0.6 * other.clip(0) ** 1.4,
    }[mode]
    sides = exact[:1] if mode == "single" else exact
    kept = (
        np.all([(side <= 0.9) & (side >= 0.1) for side in sides], axis=0)
        & (score <= 0.7)
        & ~related.numpy()
    )
    last = -np.sort(-np.where(kept, score, -1), axis=1)[:, 19]
    assert (found < last).all() and (found > 0.9 * last).mean() > 0.9
    assert (
        seeds.first_thresholds(
            *[block[:, :19] for block in blocks],
            bounds,
            limits.tolist(),
            related[:, :19].to(where),
            20,
        )
        == 0
    ).all()


class Apart(Ranks):
    """Ranks that tell each other no thresholds."""

    def maximum(self, values):
        pass


@pytest.mark.parametrize("where", ["cpu", gpu])
def test_tiles_shared_by_ranks_make_the_same_lists(through_device, where):
    """Each rank has lists of all rows from its own tiles alone, many of them without the tile on the diagonal that gives first thresholds."""
    through_device(30, 1 << 16)
    image, text, _ = data()
    order = np.arange(len(image))
    units = [np.empty(rows.shape, np.float32) for rows in (image, text)]
    for rows, out in zip((image, text), units, strict=True):
        write_unit_rows(rows, order, "", out)
    plan = make_plan(rows=260, pool=260, widths=[16, 16], depth=6, tile=30)
    known = search._kernel_data(units, order, None, Filters(), "HPM")
    parts = []
    for rank in range(3):
        sweep = search._sweep(known, UnitRows(units, units, [0.0, 0.0]), plan, where)
        parts.append(
            packed(Strips(plan, sweep, None, Apart(rank, 3))._fill(0, 0, 260, tqdm(disable=True)))
        )
    lists = merged(unpacked(parts[0], plan.capacity), parts[1:])
    indices, scores, removed, last = (
        np.full((260, 6), -1),
        np.zeros((260, 6), np.float32),
        np.zeros((260, 10), np.int64),
        np.zeros(260, np.uint64),
    )
    scratch = kernel.make_scratch(lists.column.shape[1])
    kernel.finish(0, 260, scratch, known, lists, 6, 0, indices, scores, removed, last)
    expected = reference(image, text, 6)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()


def test_short_memory_halves_the_blocks(through_device, monkeypatch, capsys):
    """A device with room for blocks of 40 rows, then one without room for the rows themselves."""
    through_device(200, 1 << 16)
    image, text, _ = data()
    expected = reference(image, text, 6)
    make, most = HalfProducts.__init__, 40

    def short(self, units, block, where):
        if block > most:
            raise torch.OutOfMemoryError("as CUDA says it")
        make(self, units, block, where)

    monkeypatch.setattr(HalfProducts, "__init__", short)
    monkeypatch.setattr(device, "SMALLEST_BLOCK", 25)
    found = search.search(image, text, top_k=6, filters=Filters())
    assert (
        found.indices == expected[0]
    ).all() and "out of memory on cpu: starting with blocks of 25 rows" in capsys.readouterr().err
    most = 0
    with pytest.raises(UserError, match="no room for the rows") as error:
        search.search(image, text, top_k=6, filters=Filters())
    assert error.value.code == 5
