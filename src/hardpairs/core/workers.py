"""What a data loader's worker process does when its parent is stopped: nothing, and quietly; the parent answers for both."""

from __future__ import annotations

import signal
import sys
from types import TracebackType


def answer_to_the_parent(_: int) -> None:
    """A ``worker_init_fn``: Ctrl-C, which a terminal sends to all of its processes, is left to the parent.

    A parent that leaves in the middle of taking a tensor resets the connection to the thread that hands it over
    (``multiprocessing.resource_sharer``), which would print a traceback from every worker under the parent's one message.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _silent_when_the_parent_left


def _silent_when_the_parent_left(
    kind: type[BaseException], value: BaseException, trace: TracebackType | None
) -> None:
    if not issubclass(kind, (ConnectionError, EOFError)):
        sys.__excepthook__(kind, value, trace)
