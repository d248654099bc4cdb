"""The compiled loops against plain ones, and where their machine code cannot be kept."""

import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from hardpairs.mining.api import Execution
from hardpairs.mining.engine import kernel
from hardpairs.mining.engine.error_bound import BFLOAT16_ROUNDING
from hardpairs.mining.low_precision import PRECISIONS
from hardpairs.mining.options import PRODUCT, SINGLE, WEIGHTED
from tests.helpers import ROOT
from tests.mining.searches import search, themed

OPTIONS = {
    "plain": {},
    "weighted": {"image_weight": 0.7, "similarity_floor": 0.1},
    "filtered": {"relative_margin": 0.1, "max_score": 0.4, "duplicate_threshold": 0.5},
}


def digests() -> list[str]:
    """Return digests of the results of a few searches, with both precisions."""
    image, text = themed(200, 24), themed(200, 24, 1)
    image[20:80] = image[20]
    groups = np.random.default_rng(0).integers(0, 60, (200, 2))
    results = [
        search(image, text, 3, groups=groups, execution=Execution(precision=precision), **options)
        for options in OPTIONS.values()
        for precision in PRECISIONS
    ]
    results.append(search(image, text, 3, method="text", approx=100))
    return [
        hashlib.sha256(
            f"{f.kept}{f.removed}".encode() + f.indices.tobytes() + f.scores.tobytes()
        ).hexdigest()
        for f in results
    ]


def run(before: str, folder=ROOT, **environment: str) -> list[str]:
    code = (
        f"{before}; from tests.mining.engine import test_kernel; "
        "print('\\n'.join(test_kernel.digests()))"
    )
    paths = f"{folder}:{ROOT}:{ROOT / 'src'}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": paths, "PATH": "", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow  # compiles everything
def test_where_machine_code_cannot_be_kept(tmp_path):
    """No cache folder beside the file, none in the home folder."""
    shutil.copytree(
        ROOT / "src/hardpairs", tmp_path / "hardpairs", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "hardpairs/mining/engine/__pycache__").write_text("in the way of the folder")
    before = (
        "from hardpairs.mining.engine import kernel; "
        f"assert kernel.__file__.startswith({str(tmp_path)!r})"
    )
    assert run(before, tmp_path, HOME="/dev/null", XDG_CACHE_HOME="/dev/null") == digests()


def test_a_folder_for_machine_code_is_no_condition(monkeypatch):
    """Numba raises RuntimeError where it finds none."""

    def refuses(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: ("compiled", function)

    monkeypatch.setattr(
        kernel.numba, "njit", lambda **options: lambda function: refuses(**options)(function)
    )
    assert kernel._compiler()(abs) == ("compiled", abs)


def values_of(codes):
    return (codes.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("mode", [SINGLE, PRODUCT, WEIGHTED])
def test_upper_scores_against_numpy(mode):
    rng = np.random.default_rng(0)
    codes = (rng.uniform(-1, 1, (2, 300)).astype(np.float32).view(np.uint32) >> 16).astype("u2")
    errors, tables = np.float32([1e-3, 2e-3]), rng.random((2, 1 << 16), np.float32)
    upper = [
        values_of(side) + (np.abs(values_of(side)) * np.float32(BFLOAT16_ROUNDING) + error)
        for side, error in zip(codes, errors, strict=True)
    ]
    expected = {
        SINGLE: upper[0],
        PRODUCT: np.maximum(upper[0], np.float32(0)) * upper[1],
        WEIGHTED: tables[0, codes[0]] * tables[1, codes[1]],
    }[mode]
    out = np.empty(300, np.float32)
    kernel._upper_scores(mode, *codes, *errors, tables, out)
    np.testing.assert_allclose(out, expected, rtol=2.0**-22, atol=2.0**-24)  # fused or not


def test_positions_above_thresholds_against_numpy():
    rng = np.random.default_rng(0)
    scores, thresholds = rng.random((2, 100), np.float32)
    positions = np.empty(101, np.int64)
    for limit in (np.float32(0.3), np.float32(2)):
        expected = np.flatnonzero(scores > limit)
        assert kernel._above(scores, limit, positions) == len(expected)
        assert (positions[: len(expected)] == expected).all()
    expected = np.flatnonzero(scores > thresholds)
    assert kernel._above_each(scores, thresholds, positions) == len(expected)
    assert (positions[: len(expected)] == expected).all()


def test_selection_and_sorting_against_numpy():
    rng = np.random.default_rng(0)
    for count in (1, 2, 17, 200):
        values = rng.integers(0, 50, count).astype(np.float32)  # with ties
        descending = np.sort(values)[::-1]
        for k in {1, count // 2 + 1, count}:
            assert kernel._kth_largest(values.copy(), count, k) == descending[k - 1]
        keys = rng.integers(0, 1 << 60, count).astype(np.uint64)
        ordered = np.sort(keys)
        kernel._sort(keys, count)
        assert (keys == ordered).all()


def test_rank_keys_sort_by_score_then_row():
    rng = np.random.default_rng(0)
    scores = rng.choice(rng.random(20, np.float32), 100)
    rows = rng.permutation(1 << 20)[:100]
    keys = [int(kernel._rank_key(score, row)) for score, row in zip(scores, rows, strict=True)]
    assert (np.argsort(keys) == np.lexsort((rows, -scores))).all()
    assert all(
        kernel._score_of_key(np.uint64(key)) == score
        for key, score in zip(keys, scores, strict=True)
    )


def test_the_sum_that_decides_goes_from_first_to_last():
    rows = np.random.default_rng(0).normal(size=(2, 768)).astype(np.float32)
    products = rows[0].astype(np.float64) * rows[1].astype(np.float64)
    assert kernel._ordered_dot(rows, 0, rows, 1) == np.cumsum(products)[-1]
    np.testing.assert_allclose(kernel._dot(rows, 0, rows, 1), products.sum(), rtol=1e-12)
