"""The kernel's count of memory, and a search whose predicted peak holds."""

import dataclasses
import mmap

from hardpairs.mining.api import hard_pairs
from hardpairs.planning.made_rows import themed_rows
from hardpairs.planning.mining_cost import mining_cost
from hardpairs.planning.resident import peak_bytes, resident_bytes, start_peak
from tests.planning.machines import MACHINE


def test_the_peak_keeps_what_has_gone():
    start_peak()
    before = resident_bytes()
    with mmap.mmap(-1, 30 << 20) as pages:  # an array might get memory that was freed before
        for _ in range(30):
            pages.write(bytes(1 << 20))
    assert peak_bytes() >= before + (25 << 20) > resident_bytes()


def test_a_search_needs_no_more_than_predicted():
    image, text = themed_rows(3000, (16, 16))
    hard_pairs(image[:200], text[:200], top_k=20)
    start_peak()
    machine = dataclasses.replace(MACHINE, process_bytes=resident_bytes())
    hard_pairs(image, text, top_k=20)
    assert peak_bytes() <= mining_cost(machine, 3000, [16, 16], top_k=20).memory
