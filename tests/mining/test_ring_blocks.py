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
