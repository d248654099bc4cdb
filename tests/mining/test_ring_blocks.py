"""Processes that pass their rows around find what one process finds."""

import pytest

from tests.helpers import torchrun


@pytest.mark.parametrize(
    "processes", [*(pytest.param(count, marks=pytest.mark.slow) for count in (2, 3)), 4]
)
def test_every_search_is_the_same_in_a_ring(processes, tmp_path):
    """Methods, filters, pools and clusters; one block of lists or many; counts of full lists."""
    done = torchrun(processes, "-m", "tests.mining.ring_searches", str(tmp_path))
    assert done.returncode == 0 and done.stdout == "wrong: []\n", done.stdout + done.stderr


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_ring_of_devices_finds_the_same(processes, tmp_path):
    """Each device has eight ranges of rows at a time, and all others come by on its host."""
    done = torchrun(processes, "-m", "tests.mining.ring_searches", str(tmp_path), "--device")
    assert done.returncode == 0 and done.stdout == "wrong: []\n", done.stdout + done.stderr
