"""Results of threads are those of ``map``, and torch keeps its number of threads."""

from __future__ import annotations

import threading

import pytest
import torch

from hardpairs.core.threads import in_parallel


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order(threads):
    assert in_parallel(lambda a, b: a - b, range(50), range(0, 100, 2)) == [-i for i in range(50)]
    assert torch.get_num_threads() == threads


def test_all_threads_work_at_once_and_each_multiplies_alone(threads):
    together = threading.Barrier(threads)

    def work(_: int) -> tuple[int, int]:
        together.wait(60)  # breaks where fewer threads come
        return threading.get_ident(), torch.get_num_threads()

    done = in_parallel(work, range(threads))
    assert len({ident for ident, _ in done}) == threads
    assert {inside for _, inside in done} == {1}


def test_an_error_is_raised(threads):
    with pytest.raises(ZeroDivisionError):
        in_parallel(lambda number: 1 / number, [2, 1, 0, 3])
