"""Watch the other processes of a run, and end this one when one of them is lost.

A process that waits for another one in a collective call learns of its end by a broken connection,
if at all: never of one that is stopped, or of a machine without power. So each process tells a
store every second that it is there and what it does, and looks whether the others still tell it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hardpairs.core.errors import Exit, UserError, end_at_once, tell

PEER_TIMEOUT = 600.0
"""Seconds after which a process that does not tell anything is lost."""
HELP = "seconds after which a process of the run that does not answer ends it with exit code 7"
_RANKS_PER_SECOND = 64


def positive_seconds(text: str) -> float:
    """Return the seconds of a flag, for argparse."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, not {text!r}")
    return value


def add_peer_timeout(parser: argparse.ArgumentParser) -> None:
    """Add the flag of a command that runs on several processes."""
    parser.add_argument(
        "--peer-timeout",
        type=positive_seconds,
        default=PEER_TIMEOUT,
        metavar="SECONDS",
        help=f"{HELP} (default: 600)",
    )


@dataclass(frozen=True)
class State:
    """The report of a process on itself.

    Attributes:
        host: Its machine.
        where: What it does.
        moves: Number of calls of ``at``.
        limited: Whether this may not take longer than the timeout.
        is_done: Whether it has left in good order.
        beat: Counts what it told.
    """

    host: str
    where: str = "at the start"
    moves: int = 0
    limited: bool = False
    is_done: bool = False
    beat: int = 0


@dataclass
class _Seen:
    """A process's last words, and when they and its moves changed last."""

    state: State
    when: float
    moved: float


class Peers:
    """The processes of a run, watched by two threads: one asks the store, the other the clock.

    Args:
        rank: Number of this process.
        world_size: Number of processes.
        timeout: Seconds after which a process that does not answer is lost.
        store: Any of PyTorch's stores, with a connection of its own.
    """

    def __init__(self, rank: int, world_size: int, timeout: float, store: Any) -> None:
        self.rank, self.world_size, self.timeout, self._store = rank, world_size, timeout, store
        self._interval = min(max(1.0, world_size / _RANKS_PER_SECOND), timeout / 4)
        self._own = State(socket.gethostname())
        self._seen: dict[int, _Seen] = {}
        self._ended = threading.Event()
        self._is_leaving = False
        self._tell()

    def start(self) -> None:
        """Begin to watch, once all processes have made their ``Peers``."""
        self._look()
        for work in (self._ask, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def at(self, where: str, *, limited: bool = False) -> None:
        """Tell the others what this process does.

        Args:
            where: Such as "step 12".
            limited: Whether it is lost when it is there for longer than the timeout. That holds
                only while it holds for all processes: they may wait for one that takes its time.
        """
        own = self._own
        self._own = State(own.host, where, own.moves + 1, limited, beat=own.beat)

    def stop(self) -> None:
        """Leave in good order."""
        self._ended.set()
        own = self._own
        self._own = State(own.host, own.where, own.moves, is_done=True, beat=own.beat)
        try:
            self._tell()
        except Exception:  # the store has left before
            return

    def named(self) -> str:
        """Name the processes that have ended just now, after the time of some beats."""
        if self._ended.is_set():
            return ""
        self._is_leaving = True
        time.sleep(3.5 * self._interval)
        now = time.monotonic()
        silent = [
            rank for rank in self._others() if now - self._seen[rank].when > 2 * self._interval
        ]
        return self._names(silent) if len(silent) < self.world_size - 1 or len(silent) == 1 else ""

    def _others(self) -> list[int]:
        return [
            rank
            for rank, seen in sorted(self._seen.items())
            if rank != self.rank and not seen.state.is_done
        ]

    def _names(self, ranks: list[int]) -> str:
        states = [(rank, self._seen[rank].state) for rank in ranks[:8]]
        return "; ".join(f"process {rank} on {s.host}, {s.where}" for rank, s in states)

    def _tell(self) -> None:
        own = self._own
        self._own = State(own.host, own.where, own.moves, own.limited, own.is_done, own.beat + 1)
        self._store.set(_key(self.rank), json.dumps(vars(self._own)))

    def _look(self) -> None:
        keys = [_key(rank) for rank in range(self.world_size)]
        now = time.monotonic()
        for rank, text in enumerate(self._store.multi_get(keys)):
            state, seen = State(**json.loads(text)), self._seen.get(rank)
            if seen is None:
                self._seen[rank] = _Seen(state, now, now)
            elif state != seen.state:
                moved = now if state.moves != seen.state.moves else seen.moved
                self._seen[rank] = _Seen(state, now, moved)

    def _ask(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                self._tell()
                self._look()
            except Exception:  # the store is gone, and with it its process; the clock goes on
                return

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(self._interval):
            if self._is_leaving:
                return
            now = time.monotonic()
            if now - last > self.timeout / 2:  # this process was stopped, not the others
                self._seen = {
                    rank: _Seen(seen.state, now, now) for rank, seen in self._seen.items()
                }
            last = now
            lost = [rank for rank in self._others() if now - self._seen[rank].when > self.timeout]
            if lost:
                end(self._lost(lost))
            if self._nobody_moves(now):
                end(self._stuck())

    def _nobody_moves(self, now: float) -> bool:
        return all(
            seen.state.limited and now - seen.moved > self.timeout for seen in self._seen.values()
        )

    def _lost(self, ranks: list[int]) -> UserError:
        many = f"{len(ranks)} processes have" if len(ranks) > 1 else f"process {ranks[0]} has"
        return UserError(
            Exit.PEER_FAILED,
            f"{many} not answered for {self.timeout:.0f} s",
            where=self._names(ranks),
            why="it was killed or stopped, or its machine or the network is lost",
            fix="look at that machine; the same command goes on from the work that is saved",
        )

    def _stuck(self) -> UserError:
        fewest = min(seen.state.moves for seen in self._seen.values())
        behind = [rank for rank, seen in self._seen.items() if seen.state.moves == fewest]
        return UserError(
            Exit.PEER_FAILED,
            f"no process of the run has gone on for {self.timeout:.0f} s",
            where=self._names(behind),
            why="the others wait for it" if len(behind) < self.world_size else "",
            fix="look at what it waits for, such as a file system; or a longer `peer_timeout`",
        )


def _key(rank: int) -> str:
    return f"hardpairs/peers/{rank}"


def end(error: UserError) -> None:
    """End this process at once from any thread, with its workers, a message and an exit code."""
    text = re.sub(r"`(\w+)`", lambda match: "--" + match[1].replace("_", "-"), error.text())
    tell(error.code, text)
    end_at_once(error.code)


@contextlib.contextmanager
def joining(timeout: float) -> Iterator[None]:
    """End this process when it is within the block for longer than a timeout.

    A process that is lost before it has joined the others is not watched yet.

    Args:
        timeout: Seconds.
    """
    error = UserError(
        Exit.PEER_FAILED,
        f"not all processes of the run have come within {timeout:.0f} s",
        where=f"process {os.environ.get('RANK', '0')} on {socket.gethostname()} waits for them",
        why="one was stopped, or its machine or the network is lost",
        fix="look at the other processes; or a longer `peer_timeout`",
    )
    timer = threading.Timer(timeout, end, (error,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


_watched: list[Peers] = []


def watch(rank: int, world_size: int, timeout: float = PEER_TIMEOUT) -> None:
    """Watch the other processes of the group that torchrun's variables name.

    All processes call it, after ``init_process_group``.

    Args:
        rank: Number of this process.
        world_size: Number of processes.
        timeout: Seconds after which a process that does not answer is lost.
    """
    address, port = (os.environ.get(f"MASTER_{name}") for name in ("ADDR", "PORT"))
    if world_size == 1 or _watched or address is None or port is None:
        return
    import torch.distributed as distributed

    if not distributed.is_initialized():
        return
    limit = timedelta(seconds=timeout)
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        address, int(port), is_master=False, timeout=limit, wait_for_workers=False
    )
    peers = Peers(rank, world_size, timeout, store)
    distributed.barrier()
    peers.start()
    _watched.append(peers)


def at(where: str, *, limited: bool = False) -> None:
    """Tell the other processes what this one does, see ``Peers.at``."""
    for peers in _watched:
        peers.at(where, limited=limited)


def unwatch() -> None:
    """Leave the run in good order, before the process group is destroyed."""
    while _watched:
        _watched.pop().stop()


def peer_error(error: BaseException) -> UserError | None:
    """Return the error of a process that another one left, or ``None`` for any other error.

    Such are the errors of collective calls whose connection breaks, and of data loaders whose
    worker was killed.
    """
    text = str(error)
    if worker := re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)(.*)", text):
        return UserError(
            Exit.PEER_FAILED,
            "a worker of the data loader has ended"
            + (" by a signal" if "killed by signal" in worker[2] else ""),
            where=f"process {worker[1]} on {socket.gethostname()}",
            why="the system ends a process when memory is short; dmesg tells",
            fix="fewer workers, or smaller batches; the same command goes on from what is saved",
        )
    kinds = ("DistBackendError", "DistNetworkError", "DistStoreError")
    if type(error).__name__ not in kinds and "gloo/transport" not in text:
        return None
    names = "; ".join(filter(None, (peers.named() for peers in _watched)))
    return UserError(
        Exit.PEER_FAILED,
        "another process of this run has stopped",
        where=names,
        fix="see its message; the same command goes on from the work that is saved",
    )
