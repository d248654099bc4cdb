"""Plain threads for loops that release the GIL: compiled loops, and single matrix products.

The threads of numba and of OpenMP wait busily for their next loop, and take the cores from each
other meanwhile.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def in_parallel(function: Callable[..., T], *arguments: Iterable[Any]) -> list[T]:
    """Return a function's results over arguments, as ``map`` does, by as many threads as torch.

    A matrix product inside the function uses one thread.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return list(map(function, *arguments))
    return list(_pool(threads).map(function, *arguments))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(threads, thread_name_prefix="mining")
    started = threading.Barrier(threads + 1)

    def start() -> None:
        torch.get_num_threads()  # a thread's first use of PyTorch sets its number: have it now
        torch.set_num_threads(1)
        started.wait()

    for _ in range(threads):
        pool.submit(start)
    started.wait()
    torch.set_num_threads(threads)  # what threads started by others will have
    return pool
