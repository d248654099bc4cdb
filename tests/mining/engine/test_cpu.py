"""The CPU engine: short memory, and any number of threads."""

import numpy as np
import pytest
import torch

from hardpairs.mining import hard_pairs
from hardpairs.mining.engine import cpu, kernel
from hardpairs.mining.engine.cpu import Products, choose_precision
from hardpairs.mining.low_precision import PRECISIONS
from hardpairs.mining.plan import Tile
from hardpairs.mining.unit_vectors import round_vectors
from tests.mining.reference import unit
from tests.mining.searches import themed


class Scarce(Products):
    """Products on a machine without room for blocks of more than 20 rows."""

    def __call__(self, rows, columns):
        if len(self.rows[0][rows]) > self.limit:
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
            )
        return super().__call__(rows, columns)

    limit = 20


def test_short_memory_halves_the_blocks(monkeypatch, capsys):
    image, text = themed(300, 24), themed(300, 16, 1)
    expected = hard_pairs(image, text, top_k=5)
    monkeypatch.setattr(cpu, "Products", Scarce)
    monkeypatch.setattr(Scarce, "limit", 80)
    indices, scores = hard_pairs(image, text, top_k=5)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()
    assert "continuing with blocks of 75 rows" in capsys.readouterr().err


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_any_number_of_threads_gives_the_same(monkeypatch, threads):
    """Also where blocks do not fit into memory in all of them at once."""
    image, text = themed(700, 24), themed(700, 16, 1)
    expected = hard_pairs(image, text, top_k=5)
    monkeypatch.setattr(cpu, "Products", Scarce)
    monkeypatch.setattr(Scarce, "limit", 90)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        indices, scores = hard_pairs(image, text, top_k=5)
    finally:
        torch.set_num_threads(before)
    assert (indices == expected[0]).all() and (scores == expected[1]).all()


@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_tiles_for_threads_have_no_row_or_column_in_common(parts):
    tile = Tile(100, 1000, 5000, 5700, both=True)
    seen = np.zeros((900, 700), int)
    for group in cpu.disjoint(tile, parts):
        assert (
            len({part.top for part in group})
            == len({part.left for part in group})
            == len(group)
            == parts
        )
        for part in group:
            seen[part.top - 100 : part.bottom - 100, part.left - 5000 : part.right - 5000] += 1
    assert (seen == 1).all()
    assert cpu.disjoint(Tile(0, 100, 0, 700, both=False), 8) == [
        [Tile(0, 100, 0, 700, both=False)]
    ]  # too small to share


def test_a_precision_is_chosen():
    assert choose_precision(64) in ("bfloat16", "float32")
    assert choose_precision(64, pool=10**6) in PRECISIONS


@pytest.mark.parametrize(
    ("nanoseconds", "pool", "chosen"),
    [
        ((10, 9, 1), 1000, "float32"),
        ((10, 7, 9), 1000, "bfloat16"),
        ((10, 9, 1), 1_000_000, "int8"),
        ((10, 2, 1), 1_000_000, "bfloat16"),  # 0.5 ms of each row saved, 2 ms spent
        ((10, 9, 20), 1_000_000, "float32"),
    ],
)
def test_int8_is_chosen_where_it_saves_more_than_its_bound_costs(
    monkeypatch, nanoseconds, pool, chosen
):
    seconds = dict(zip(("float32", "bfloat16", "int8"), np.array(nanoseconds) / 1e9, strict=True))
    monkeypatch.setattr(cpu, "_probe", lambda *_, **__: seconds)
    assert choose_precision(64, pool=pool) == chosen


def test_int8_products_that_overflow_are_not_taken(monkeypatch):
    """Units that add pairs of products in 16 bits give the wrong sum at the ends alone."""
    tells = cpu._multiplies_int8.__wrapped__
    assert tells(70)
    exact = torch._int_mm

    def saturating(left, right):
        product = exact(left, right)
        return product.clamp_(max=16129 * 70 - 1)

    monkeypatch.setattr(torch, "_int_mm", saturating)
    assert not tells(70)
    monkeypatch.delattr(torch, "_int_mm")
    assert not tells(70)


def test_a_machine_without_int8_products_takes_the_plan_of_one_that_has_them(monkeypatch):
    rows = unit(np.random.default_rng(0).normal(size=(90, 1100))).astype(np.float32)
    stored = np.empty((90, 1104), np.int8)
    products = Products([stored], [round_vectors(rows, stored)], 90)
    own = products(slice(0, 90), slice(0, 90))[0].clone()
    monkeypatch.setattr(cpu, "_multiplies_int8", lambda width: False)
    assert torch.equal(products(slice(0, 90), slice(0, 90))[0], own)


@pytest.mark.parametrize("width", [29, 30, 31, 32])
def test_int8_blocks_of_one_row_or_column(width):
    """Their scales begin at any byte of the rows' memory."""
    rows = unit(np.random.default_rng(0).normal(size=(5, width))).astype(np.float32)
    stored = np.empty((5, width + 4), np.int8)
    products = Products([stored], [round_vectors(rows, stored)], 5)
    whole = products(slice(0, 5), slice(0, 5))[0].clone()
    for i in range(5):
        assert torch.equal(products(slice(i, i + 1), slice(0, 5))[0], whole[i : i + 1])
        assert torch.equal(products(slice(0, 5), slice(i, i + 1))[0], whole[:, i : i + 1])
        assert torch.equal(products(torch.tensor([i]), slice(i, i + 1))[0][0, 0], whole[i, i])


def test_products_of_whole_numbers_are_rounded_like_those_of_torch():
    rng = np.random.default_rng(0)
    products = rng.integers(-(2**23), 2**23, (40, 33)).astype(np.int32)
    scales = [(rng.random(count, np.float32) * 1e-3).astype(np.float32) for count in (40, 33)]
    out = np.empty((40, 33), np.uint16)
    kernel.scale(products, *scales, out)
    values = torch.from_numpy(products.astype(np.float32) * np.outer(*scales))
    assert (out == values.to(torch.bfloat16).view(torch.uint16).numpy()).all()
