"""What a search takes on a device, chosen before it starts."""

import numpy as np
import pytest
import torch

from hardpairs.core.errors import UserError
from hardpairs.core.ranks import Ranks
from hardpairs.mining import api
from hardpairs.mining.api import Execution, kernel_data
from hardpairs.mining.engine import candidates
from hardpairs.mining.engine.cuda import CudaEngine
from hardpairs.mining.engine.device_memory import (
    SPARE,
    device_sizes,
    free_device_memory,
    sort_scratch,
    threshold_scratch,
)
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.unit_vectors import UnitVectors
from tests.mining.engine.test_device_rows import halves_of
from tests.mining.reference import unit
from tests.mining.searches import themed

ROWS = {"rows": 12_000_000, "widths": [384, 768], "groups": 1, "tile": 16384}


@pytest.mark.parametrize(
    ("gigabytes", "tile", "held"),
    [(140, 16384, 0), (30.5, 8192, 0), (24, 16384, 8), (2.1, 4096, 8)],
)
def test_sizes_keep_within_the_limit(gigabytes, tile, held):
    sizes = device_sizes(**ROWS, allowed=int(gigabytes * 1e9))
    assert sizes.tile == tile and sizes.bytes <= gigabytes * 1e9
    assert held * tile <= sizes.rows < 12_000_000 and (sizes.rows > 0) == (held > 0)


def test_a_ring_streams_whatever_there_is_room_for():
    sizes = device_sizes(**ROWS, allowed=140 << 30, streamed=True)
    assert sizes.rows >= 12_000_000


def test_too_little_names_what_is_needed():
    with pytest.raises(UserError, match="at least 2031M of the device's memory, 1000M") as error:
        device_sizes(**ROWS, allowed=10**9)
    assert error.value.code == 5


def tensor_bytes(value, seen):
    """Return the bytes of all tensors that an object has, each once, on the device alone."""
    if isinstance(value, torch.Tensor):
        own = value.untyped_storage()
        return 0 if own.data_ptr() in seen or seen.add(own.data_ptr()) else own.nbytes()
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return sum(tensor_bytes(one, seen) for one in value)
    named = getattr(value, "__dict__", {})
    on_host = ("_host_buffer", "_halves", "data")
    return sum(tensor_bytes(one, seen) for name, one in named.items() if name not in on_host)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("method", ["HPM", "image", "cross-modal"])
def test_the_engine_takes_what_was_counted(monkeypatch, method, streamed):
    """Its own tensors, without scratch memory; the GPU tests measure the peak."""
    monkeypatch.setattr(candidates, "CAPACITY", 5000)
    options = MiningOptions(top_k=4, method=method)
    units = [unit(themed(600, 16, seed)).astype(np.float32) for seed in (0, 1)]
    units = units[: 1 if method == "image" else 2]
    halves, errors = halves_of(units)
    groups = np.arange(600) // 2
    data = kernel_data(units, np.arange(600), groups, options, 4)
    sizes = device_sizes(
        rows=600, widths=[16] * len(units), groups=1, tile=40, allowed=1 << 40, streamed=streamed
    )
    assert sizes.rows == (2 * 15 * 40 if streamed else 0)
    made = CudaEngine(data, UnitVectors(units, halves, errors), "cpu", sizes.tile, sizes.rows)
    thresholds = 3 * 4 * 600
    counted = sizes.bytes - SPARE - 4 * (sort_scratch() + threshold_scratch(40)) - thresholds
    small = made.bounds.tables.nbytes + 2 * made._buffers[0].count.nbytes
    if streamed:
        assert made.products.rows._free  # all its memory is there before rows are
    assert tensor_bytes(made, set()) == counted + small
    assert small < SPARE / 10


def test_processes_share_the_free_memory_of_a_device(monkeypatch):
    """Three processes on two devices; torch has 200 bytes that nobody uses."""
    known = {"mem_get_info": (1000, 5000), "memory_reserved": 500, "memory_allocated": 300}
    for name, value in known.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert free_device_memory(torch.device("cuda")) == 0.9 * 1200 / 2


def test_all_ranks_take_what_the_smallest_device_has(monkeypatch):
    class WithAnother(Ranks):
        """The first of two ranks; the device of the other one has 600 bytes."""

        def maximum(self, values):
            values[:] = np.maximum(values, -600)

    for free in (900, 300):
        monkeypatch.setattr(api, "free_device_memory", lambda device, free=free: free)
        assert api._device_memory(Execution(ranks=WithAnother(0, 2))) == min(free, 600)
