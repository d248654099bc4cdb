"""Plain threads for loops that let go of the GIL: compiled ones, and single products.

Not numba's own threads nor OpenMP's within a product: those wait busily for the next loop, and take the cores from each other meanwhile.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def in_parallel(work: Callable[..., T], *arguments: Iterable) -> list[T]:
    """``work`` over the arguments, as ``map``, in as many threads as torch has; products in them use one each."""
    threads = torch.get_num_threads()
    if threads == 1:
        return list(map(work, *arguments))
    return list(_pool(threads).map(work, *arguments))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(threads, thread_name_prefix="mining")
    started = threading.Barrier(threads + 1)

    def start() -> None:
        torch.set_num_threads(1)
        started.wait()

    for _ in range(threads):
        pool.submit(start)
    started.wait()
    torch.set_num_threads(threads)  # what threads started by others will have
    return pool
