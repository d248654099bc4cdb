"""Processes that make the runs of a study."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch


class Workers:
    """Processes that call methods of an object of their own; with one job this process does.

    Args:
        target: The object, for one job.
        jobs: Number of processes.
        open_target: Returns a process's own object; a function of a module.
        arguments: Arguments of ``open_target``.
    """

    def __init__(
        self, target: Any, jobs: int, open_target: Callable[..., Any], *arguments: Any
    ) -> None:
        self.target, self.jobs = target, jobs
        self.opening = (open_target, *arguments)
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.jobs > 1:
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(self.jobs, context, _open_own, self.opening)
        return self

    def __exit__(self, *error: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=error[0] is None, cancel_futures=True)

    def run(self, what: str, method: str, items: list[Any]) -> None:
        """Call a method for each item, and say how many are done.

        Args:
            what: What the items are, for the line on stderr.
            method: Name of the method.
            items: Its arguments.
        """
        calls: Iterable[Any]
        if self.pool is None:
            calls = map(getattr(self.target, method), items)
        else:
            calls = self.pool.map(_call, [method] * len(items), items)
        for done, _ in enumerate(calls, 1):
            print(f"\r{what}: {done} of {len(items)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)


_own: list[Any] = []


def _open_own(open_target: Callable[..., Any], *arguments: Any) -> None:
    torch.set_num_threads(1)  # the processes share the cores
    _own[:] = [open_target(*arguments)]


def _call(method: str, item: Any) -> Any:
    return getattr(_own[0], method)(item)
