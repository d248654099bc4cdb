"""Candidate pairs of blocks: on the CPU in every run, on a GPU with ``pytest -m gpu``."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from hardpairs.mining.engine import candidates, kernel
from hardpairs.mining.engine.candidates import BlockSide, CandidateBuffer, ScoreBounds
from hardpairs.mining.engine.cpu import code_values, factor_tables
from hardpairs.mining.engine.error_bound import FLOAT16_ROUNDING
from hardpairs.mining.options import CROSS, PRODUCT, SINGLE, WEIGHTED, MiningOptions
from tests.helpers import ROOT

gpu = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")],
)
VALUES = code_values(torch.float16)
MODES = {"single": SINGLE, "product": PRODUCT, "weighted": WEIGHTED, "cross": CROSS}


def make_bounds(mode: int, where: str) -> ScoreBounds:
    data = kernel.Data(*[None] * 6, mode, 0.3, 0.0, 0)
    errors = (0.001, 0.002)
    return ScoreBounds(
        mode,
        0.3,
        errors,
        torch.from_numpy(factor_tables(data, list(errors), VALUES, FLOAT16_ROUNDING)).to(where),
    )


def appenders(where: str) -> list:
    """Return the function in plain torch, and triton's on a GPU or in triton's interpreter."""
    functions = [candidates.append_candidates]
    if importlib.util.find_spec("triton") and (
        where == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
    ):
        from hardpairs.mining.engine import candidates_triton

        functions.append(candidates_triton.append_candidates)
    return functions


def pairs_in(buffer: CandidateBuffer, mode: int) -> list[tuple]:
    count = int(buffer.count)
    codes = buffer.codes[:count, : 1 if mode == SINGLE else 2]
    return sorted(
        zip(
            buffer.slots[:count].tolist(),
            buffer.others[:count].tolist(),
            map(tuple, codes.tolist()),
            strict=True,
        )
    )


def naive_candidates(
    first, second, bounds: ScoreBounds, rows: BlockSide, columns: BlockSide
) -> tuple[set, set]:
    """Return pairs that are candidates, and those that may be.

    Bounds are float64, with room for the rounding of float32 ones.
    """
    sure, maybe = [], []
    for r in range(first.shape[0]):
        for c in range(first.shape[1]):
            factors = [
                float(block[r, c]) + abs(float(block[r, c])) * FLOAT16_ROUNDING + e
                for block, e in zip((first, second), bounds.errors, strict=True)
            ]
            if bounds.mode == SINGLE:
                score = factors[0]
            elif bounds.mode == PRODUCT:
                score = max(factors[0], 0) * factors[1]
            elif bounds.mode == CROSS:
                score = max(factors)
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
def test_candidates_are_all_pairs_above_a_threshold(where, mode, sides):
    rng = np.random.default_rng(0)
    first, second = (
        torch.from_numpy(rng.uniform(-0.5, 1, (37, 301))).half().to(where) for _ in range(2)
    )
    thresholds = [
        torch.from_numpy(rng.uniform(0.5, 0.9, count).astype(np.float32)).to(where)
        for count in first.shape
    ]
    rows, columns = (
        BlockSide(1000, 30, thresholds[0]),
        BlockSide(5000, 500, thresholds[1] if sides == "both" else None),
    )
    bounds = make_bounds(MODES[mode], where)
    sure, maybe = naive_candidates(first, second, bounds, rows, columns)
    assert len(sure) > 100 and (len(sure) < len(maybe) + 1)
    for append_candidates in appenders(where):
        buffer = CandidateBuffer(40_000, where)
        append_candidates(first, second, bounds, rows, columns, buffer)
        pairs = pairs_in(buffer, bounds.mode)
        assert set(sure) <= {pair[:2] for pair in pairs} <= set(maybe) and len(sure) <= len(
            pairs
        ) <= len(maybe)
        for slot, other, codes in pairs:  # the codes are the pair's own
            r, c = (slot - 30, other - 5000) if slot < 500 else (other - 1000, slot - 500)
            assert (
                VALUES[np.array(codes, np.int16).view(np.uint16)].tolist()
                == [float(b[r, c]) for b in (first, second)][: len(codes)]
            )
    if len(appenders(where)) > 1:
        both = []
        for append_candidates in appenders(where):
            buffer = CandidateBuffer(40_000, where)
            append_candidates(first, second, bounds, rows, columns, buffer)
            both.append(pairs_in(buffer, bounds.mode))
        assert (
            len(set(both[0]) ^ set(both[1])) <= 2
        )  # float32 sums of two kernels, at a threshold itself


@pytest.mark.parametrize("where", ["cpu", gpu])
def test_more_candidates_than_room_are_counted_and_not_written(where):
    block = torch.ones(40, 50, dtype=torch.float16, device=where)
    sides = [
        BlockSide(0, 0, torch.zeros(40, device=where)),
        BlockSide(0, 40, torch.zeros(50, device=where)),
    ]
    for append_candidates in appenders(where):
        buffer = CandidateBuffer(3000, where)
        buffer.slots, beyond = buffer.slots[:1000], buffer.slots[1000:].fill_(7)
        append_candidates(block, block, make_bounds(PRODUCT, where), *sides, buffer)
        assert int(buffer.count) == 2 * 40 * 50 and (beyond == 7).all()


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
    method = {"single": "image", "cross": "cross-modal"}.get(mode, "HPM")
    options = MiningOptions(
        duplicate_threshold=0.9, similarity_floor=0.1, max_score=0.7, method=method
    )
    limits = options.limits()
    related = torch.from_numpy(rng.random((30, 400)) < 0.2)
    thresholds = (
        candidates.first_thresholds(*blocks, bounds, limits.tolist(), related.to(where), 20)
        .cpu()
        .numpy()
    )
    one, other = exact
    score = {
        "single": one,
        "product": one.clip(0) * other.clip(0),
        "weighted": one.clip(0) ** 0.6 * other.clip(0) ** 1.4,
        "cross": np.maximum(one, other).clip(0),
    }[mode]
    sides = {"single": exact[:1], "cross": []}.get(mode, exact)
    kept = (
        np.all([(side <= 0.9) & (side >= 0.1) for side in sides] + [score > 0.1], axis=0)
        & (score <= 0.7)
        & ~related.numpy()
    )
    last = -np.sort(-np.where(kept, score, -1), axis=1)[:, 19]
    assert (thresholds < last).all() and (thresholds > 0.9 * last).mean() > 0.9
    assert (
        candidates.first_thresholds(
            *[block[:, :19] for block in blocks],
            bounds,
            limits.tolist(),
            related[:, :19].to(where),
            20,
        )
        == 0
    ).all()


needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)


@needs_triton
@pytest.mark.slow
def test_triton_kernel_in_its_interpreter():
    """Run the tests above in triton's interpreter, chosen before triton is imported."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        __file__,
        "-k",
        "candidates_are_all or more_candidates_than_room",
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
    """Compile to machine code without a GPU: the interpreter takes what the compiler refuses."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from hardpairs.mining.engine import candidates_triton

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
    names = candidates_triton._scan.arg_names
    signature = {
        name: (pointers | thresholds | numbers | floats).get(name, "constexpr") for name in names
    }
    values = {
        "MODE": MODES[mode],
        "BY_ROW": True,
        "BY_COLUMN": True,
        "ROWS": candidates_triton.ROWS,
        "COLUMNS": candidates_triton.COLUMNS,
    }
    source = ASTSource(
        candidates_triton._scan,
        signature,
        {(names.index(name),): value for name, value in values.items()},
    )
    made = compile(
        source,
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": candidates_triton.WARPS},
    )
    assert len(made.asm["cubin"]) > 1000 and "atom" in made.asm["ptx"]
