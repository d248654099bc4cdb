"""pytest, with test processes that share their imports.

    python -m tests.parallel -n 4

Importing PyTorch, OpenCLIP and gradio takes ten seconds of processor time and more. pytest-xdist
starts each test process anew, and each starts a fork server (``tests.processes``). Here all of them
are forks of one process that has imported everything.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import sys
import types
from collections.abc import Sequence
from multiprocessing import forkserver, util
from unittest import mock

import pytest
from execnet import gateway_io

IMPORTED = (
    "tests.processes",
    "hypothesis",
    "matplotlib.pyplot",
    "scipy.stats",
    "sklearn.metrics",
    "tests.preloaded",
)
"""What tests and commands import that takes long."""


class Worker:
    """A test process with the part of ``subprocess.Popen`` that execnet uses.

    Args:
        code: What ``python -c`` would run.
        channel: The process that forks.
    """

    def __init__(self, code: str, channel: socket.socket):
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        socket.send_fds(channel, [code.encode()], [theirs_in, theirs_out])
        self.pid = int(channel.recv(64))
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin, self.stdout = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb")
        self._ended = os.pidfd_open(self.pid)

    def wait(self) -> int:
        select.select([self._ended], [], [])
        return 0

    def kill(self) -> None:
        signal.pidfd_send_signal(self._ended, signal.SIGKILL)


def start_forking(arguments: Sequence[str]) -> socket.socket:
    """Fork a process that imports everything, and forks for each message.

    A message is the code that a fork runs, with its stdin and stdout; the answer is its number.
    Before the first one pytest's rewritten test modules are written, which every fork would do.
    """
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the test processes tell of it
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # several processes share the cores
    for name in IMPORTED:
        importlib.import_module(name)
    _collect(arguments)
    while True:
        code, streams, *_ = socket.recv_fds(theirs, 1 << 16, 2)
        if not streams:
            os._exit(0)
        pid = os.fork()
        if not pid:
            theirs.close()
            _become(code.decode(), streams)
        for stream in streams:
            os.close(stream)
        theirs.send(str(pid).encode())


def _collect(arguments: Sequence[str]) -> None:
    """Collect the tests in a fork: it keeps the compiled modules."""
    pid = os.fork()
    if not pid:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        pytest.main([*arguments, "-n", "0", "--collect-only", "-p", "no:cacheprovider"])
        os._exit(0)
    os.waitpid(pid, 0)


def _become(code: str, streams: Sequence[int]) -> None:
    """Run code as ``python -c`` does, with a fork server that has everything imported."""
    with mock.patch.object(util, "spawnv_passfds", _fork_server):
        forkserver.ensure_running()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        exec(code, vars(sys.modules["__main__"]))
    finally:
        os._exit(0)


def _fork_server(_: bytes, arguments: Sequence[str], kept: Sequence[int]) -> int:
    """Run what ``multiprocessing`` would run with ``python -c``; it passes two files on."""
    pid = os.fork()
    if pid:
        return pid
    for file in map(int, os.listdir("/proc/self/fd")):
        if file > 2 and file not in kept and os.path.exists(f"/proc/self/fd/{file}"):
            os.close(file)
    try:
        exec(arguments[-1], {})
    finally:
        os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """Run pytest; its exit code."""
    if not hasattr(os, "pidfd_open"):  # not Linux
        return int(pytest.main(["-W", "ignore::pytest.PytestAssertRewriteWarning", *arguments]))
    channel, made = start_forking(arguments), gateway_io.Popen2IOMaster

    class ForkedIO(made):
        def __init__(self, command, execmodel):
            self.popen = Worker(command[-1], channel)
            super(made, self).__init__(self.popen.stdin, self.popen.stdout, execmodel=execmodel)

    with mock.patch.object(gateway_io, "Popen2IOMaster", ForkedIO):
        return int(pytest.main(["-W", "ignore::pytest.PytestAssertRewriteWarning", *arguments]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
