"""Commands in processes of their own that have PyTorch imported already.

Importing PyTorch and OpenCLIP takes longer than most of what a test runs. A fork server imports
them once; each command is a fork of it, with its own arguments, environment, folder and output,
that runs the module as ``python -m`` would. torchrun's agent is the real one; its workers are forks,
too.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO
from unittest import mock

ONCE_READ = (
    "OMP_",
    "MKL_",
    "NUMBA_",
    "CUDA_",
    "ATEN_",
    "ONEDNN_",
    "PYTHONUTF8",
    "LC_",
    "LANG",
    "HF_",
)
"""Starts of names of variables that libraries read when they are imported."""
FORGETS = "FORGETS_COMPONENTS"
"""Variable for a command that has components of another package: a fork knows those of ours."""
TORCHRUN = ("torch.distributed.run", "hardpairs.training.torchrun")
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.preloaded"])


def can_fork(command: Sequence[str], env: dict[str, str]) -> bool:
    """Return whether a command runs a module or a program, in an environment that a fork can take."""
    same = all(
        os.environ.get(name) == value for name, value in env.items() if name.startswith(ONCE_READ)
    )
    return same and tuple(command[:2]) in (("python", "-m"), ("python", "-c"))


def start(
    command: Sequence[str],
    env: dict[str, str],
    cwd: Path,
    out: Path,
    err: Path,
    *,
    session: bool = False,
) -> multiprocessing.process.BaseProcess:
    """Start ``python -m MODULE ...`` or ``python -c PROGRAM ...``; it writes into two files.

    With ``session`` it is in a session of its own.
    """
    process = context.Process(
        target=_run,
        args=(list(command[1:]), {**os.environ, **env}, str(cwd), str(out), str(err), session),
        kwargs={"start_method": multiprocessing.get_start_method()},
    )
    process.start()
    return process


class Popen:
    """A fork with the part of ``subprocess.Popen`` that this project uses.

    Output that is not a file of its own is kept until the process has ended.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: dict[str, str] | None = None,
        cwd: Path = Path(),
        stdout: IO | int | None = None,
        stderr: IO | int | None = None,
        text: bool = False,
        start_new_session: bool = False,
    ):
        self._folder = tempfile.TemporaryDirectory()
        self._kept = [Path(self._folder.name, name) for name in ("out", "err")]
        files = [
            Path(given.name) if hasattr(given, "name") else kept
            for given, kept in zip((stdout, stderr), self._kept, strict=True)
        ]
        env = {**os.environ} if env is None else env
        command = ["python", *command[1:]]
        self._process = start(command, env, Path(cwd), *files, session=start_new_session)
        self._text, self.pid = text, self._process.pid

    def __enter__(self) -> Popen:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    @property
    def stderr(self) -> IO:
        """What it wrote, when it has ended."""
        self.wait()
        return (io.StringIO if self._text else io.BytesIO)(self._written(1))

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired([], timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str | bytes, str | bytes]:
        self.wait(timeout)
        return self._written(0), self._written(1)

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _written(self, number: int) -> str | bytes:
        kept = self._kept[number]
        return kept.read_text(errors="replace") if self._text else kept.read_bytes()


def forking(module: types.ModuleType, popen: Callable = Popen) -> mock._patch:
    """Let a module start forks where it would start processes; a context or a decorator."""
    return mock.patch.object(
        module, "subprocess", types.SimpleNamespace(**{**vars(subprocess), "Popen": popen})
    )


def fork(
    command: Sequence[str], env: dict[str, str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m MODULE ...`` or ``python -c PROGRAM ...``; text output, no check.

    Raises:
        subprocess.TimeoutExpired: The command was killed after ``timeout`` seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = (Path(folder, name) for name in ("out", "err"))
        process = start(command, env, cwd, out, err)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(command), timeout, out.read_bytes())
        texts = (path.read_text(errors="replace") for path in (out, err))
        return subprocess.CompletedProcess(list(command), process.exitcode, *texts)


def fork_here(command: Sequence[str], env: dict[str, str], cwd: Path, out: Path) -> int:
    """Start ``python -m MODULE ...`` as a fork of this process, in a session of its own.

    For programs that have imported what the command needs, and have no threads.

    Returns:
        The process, which the caller waits for.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        arguments = (list(command[1:]), {**os.environ, **env}, str(cwd), str(out), str(out))
        _run(*arguments, True, start_method="fork")
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def has_ended(pid: int, seconds: float = 10) -> bool:
    """Return whether a process ends within some seconds; one that nobody waits for has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def _run(
    command: list[str],
    env: dict[str, str],
    cwd: str,
    out: str,
    err: str,
    session: bool,
    *,
    start_method: str,
) -> None:
    """Become the command: its output, environment, folder and arguments, then its program."""
    if session:
        os.setsid()
    for number, path in ((1, out), (2, err)):
        create = 0 if os.path.exists(path) else os.O_CREAT  # a terminal cannot be created
        os.dup2(os.open(path, os.O_WRONLY | create | os.O_APPEND), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    # A child of a fork server would start its own workers by a fork server of its own.
    multiprocessing.set_start_method(start_method, force=True)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:0] = ["", *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        if FORGETS in env:
            _forget_components()
        if command[0] == "-c":
            _run_program(command)
        elif command[1] in TORCHRUN:
            _launch(command[1:])
        else:
            _run_module(command[1:])
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()


def _forget_components() -> None:
    from hardpairs.batches import BATCHES
    from hardpairs.losses import LOSSES
    from hardpairs.metrics import METRICS
    from hardpairs.models.encoders import ENCODERS
    from hardpairs.training.config import option_groups

    for registry in (BATCHES, ENCODERS, LOSSES, METRICS):
        vars(registry).pop("declarations", None)
    option_groups.cache_clear()


def _run_module(command: Sequence[str]) -> None:
    sys.argv = list(command)
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def _run_program(command: Sequence[str]) -> None:
    sys.argv = ["-c", *command[2:]]
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(command[1], "<string>", "exec"), main.__dict__)


def _launch(command: Sequence[str]) -> None:
    """Run torchrun's agent; its workers are forks of this process."""
    from torch.distributed import run
    from torch.distributed.elastic.rendezvous import dynamic_rendezvous
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    def launch(config: LaunchConfig, entrypoint: str):
        config.start_method = "fork"
        return elastic_launch(config, _worker)

    run.elastic_launch = launch
    # It names the caller in an event, and looks for it in the files of all imported modules.
    dynamic_rendezvous.get_method_name = lambda depth=2: "rendezvous"
    if command[0] == run.__name__:  # run as a program it would not know of this
        sys.argv = [*command]
        run.main()
    else:
        _run_module(command)


def _worker(*command: str) -> None:
    """Run what follows ``python``; the agent waits for a return where the exit status is 0."""
    for number in (signal.SIGTERM, signal.SIGUSR1):  # the agent's handlers do not outlive an exec
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    start = command.index("-m") + 1 if "-m" in command[:2] else int(command[0] == "-u")
    sys.argv = list(command[start:])
    try:
        if command[start - 1] == "-m":
            runpy.run_module(command[start], run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, str(Path(command[start]).parent))
            runpy.run_path(command[start], run_name="__main__")
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise
    finally:
        atexit._run_exitfuncs()
