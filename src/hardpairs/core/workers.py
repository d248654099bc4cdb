"""Worker processes of data loaders that stay silent when their parent is stopped."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from types import TracebackType


def useful_workers(workers: int, batches: int) -> int:
    """Return how many worker processes are worth their start.

    Args:
        workers: How many may be started.
        batches: How many batches they load: each worker has at least one, and one batch alone is
            loaded where it is needed.
    """
    return min(workers, batches) if batches > 1 else 0


def answer_to_the_parent(_: int) -> None:
    """Leave Ctrl-C and SIGUSR1 to the parent; a ``worker_init_fn`` of a data loader.

    A terminal sends Ctrl-C to all of its processes, and SLURM its signal to all of a job. A parent
    that stops while it receives a tensor resets the connection to the thread that sends it
    (``multiprocessing.resource_sharer``), and every worker would print a traceback below the
    parent's one message.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _silent_when_the_parent_left


def leave_signals_to_the_parent(number: int) -> None:
    """Leave SIGTERM to the parent, too, which needs its workers until it has saved its state.

    Args:
        number: Number of the worker.
    """
    answer_to_the_parent(number)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def kill_workers() -> None:
    """Kill the workers that are left: those that ignore SIGTERM would be waited for at exit.

    PyTorch's handler would report each as a worker that died.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for worker in multiprocessing.active_children():
        worker.kill()


def _silent_when_the_parent_left(
    kind: type[BaseException], value: BaseException, trace: TracebackType | None
) -> None:
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, value, trace)
