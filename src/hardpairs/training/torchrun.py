"""torchrun, which passes signals on, and says in one message why a run ended.

torchrun itself ends its workers when it gets a signal, and kills them 30 seconds later. Here it
tells them of the signal once, and they end when they have saved their state.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from hardpairs.core.errors import Exit, UserError, write_status
from hardpairs.core.interrupts import run_module
from hardpairs.core.processes import PARENT, end_with_parent

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import ProcessFailure

STOPS = (signal.SIGTERM, signal.SIGUSR1)
"""What asks a run to stop with its state saved (``hardpairs.training.preemption``)."""
_stopped: list[int] = []


def main() -> None:
    """Run torchrun with the arguments of the command line; exit 7 when machines do not come.

    A rank that has said why it failed is not reported again, with torchrun's own traceback.
    """
    end_with_parent()
    os.environ[PARENT] = str(os.getpid())
    sys.argv[1:1] = ["--signals-to-handle", "SIGQUIT"]  # the others are ours
    # A worker that does not react to the end of others is killed in time.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "20")
    for number in STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _pass_on)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        # Workers inherit what is blocked: Ctrl-C waits for them until they listen.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        threading.Thread(target=_pass_on_ctrl_c, daemon=True).start()
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.run import main as torchrun

    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        torchrun()
    except RendezvousError as error:
        reason = " ".join(str(error).split())
        text = UserError(
            Exit.PEER_FAILED,
            "the machines did not find each other" + (f": {reason}" if reason else ""),
            fix="start the same line on each machine, with a HEAD that all can reach; TIMEOUT is "
            "how many seconds they wait",
        ).text()
        write_status(Exit.PEER_FAILED, text)
        sys.exit(int(Exit.PEER_FAILED))
    except ChildFailedError as error:
        _tell(*error.get_first_failure())
        sys.exit(1)


def _pass_on(number: int, _: FrameType | None) -> None:
    """Send a signal to all workers; without workers, end."""
    _stopped.append(number)
    if not _signalled(number):
        write_status(Exit.PREEMPTED, _stop().text())
        sys.exit(int(Exit.PREEMPTED))


def _pass_on_ctrl_c() -> None:
    """Send each Ctrl-C to all workers; without workers, to the main thread."""
    while True:
        if not _signalled(signal.sigwait({signal.SIGINT})):
            _thread.interrupt_main()


def _signalled(number: int) -> list[int]:
    """Send a signal to all workers, and return them."""
    workers = list(_children())
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, number)
    return workers


def _children() -> Iterator[int]:
    for path in Path("/proc/self/task").glob("*/children"):
        yield from map(int, path.read_text().split())


def _stop() -> UserError:
    return UserError(
        Exit.PREEMPTED,
        "stopped by a signal before it trained",
        fix="the same command with --resume latest goes on from what was saved before, if anything",
    )


def _tell(rank: int, failure: ProcessFailure) -> None:
    """Write the status of a worker that could not do it itself.

    Others may have said that it was gone, or that they were stopped, by torchrun; what ended it
    says more.
    """
    if failure.exitcode >= 0:
        code = failure.exitcode or Exit.UNEXPECTED
        write_status(code, f"error: process {rank} ended with code {code}", rank)
        return
    if {*_stopped} & {*STOPS}:
        write_status(Exit.PREEMPTED, _stop().text(), rank)
        return
    number = -failure.exitcode
    error = UserError(
        Exit.PEER_FAILED,
        f"process {rank} was killed ({signal.Signals(number).name})",
        where=socket.gethostname(),
        why="the system does so when memory is short; dmesg and the scheduler's log tell"
        if number == signal.SIGKILL
        else "",
        fix="the same command with --resume latest goes on from the last checkpoint, if any",
    )
    status = Path(os.environ.get("HARDPAIRS_STATUS_FILE", ""))
    with contextlib.suppress(OSError, ValueError):
        if json.loads(status.read_text("utf-8"))["code"] in (Exit.PEER_FAILED, Exit.PREEMPTED):
            status.unlink()
    write_status(Exit.PEER_FAILED, error.text(), rank)


if __name__ == "__main__":
    run_module("hardpairs.training.torchrun")
