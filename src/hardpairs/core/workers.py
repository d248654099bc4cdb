"""Worker processes of data loaders that stay silent when their parent is stopped."""

from __future__ import annotations

import signal
import sys
from types import TracebackType


def answer_to_the_parent(_: int) -> None:
    """Leave Ctrl-C to the parent; a ``worker_init_fn`` of a data loader.

    A terminal sends Ctrl-C to all of its processes. A parent that stops while it receives a tensor
    resets the connection to the thread that sends it (``multiprocessing.resource_sharer``), and
    every worker would print a traceback below the parent's one message.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _silent_when_the_parent_left


def _silent_when_the_parent_left(
    kind: type[BaseException], value: BaseException, trace: TracebackType | None
) -> None:
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, value, trace)
