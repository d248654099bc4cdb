"""The CPU engine: short memory, and any number of threads."""

import numpy as np
import pytest
import torch

from hardpairs.mining import hard_pairs
from hardpairs.mining.engine import cpu
from hardpairs.mining.engine.cpu import Products, choose_precision
from hardpairs.mining.plan import Tile
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
