"""Makers of small real data (pictures, tars as img2dataset writes them, hard pair tables), and ways to run commands."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from hardpairs.core.errors import run_command
from tests.processes import can_fork, fork

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "disabled")


def picture(seed: int, size: int = 32) -> bytes:
    """A JPEG of a coloured block on a coloured ground."""
    rng = np.random.default_rng(seed)
    pixels = np.empty((size, size, 3), np.uint8)
    pixels[:] = rng.integers(0, 255, 3)
    pixels[8:24, 8:24] = rng.integers(0, 255, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_tar(path: Path, samples: dict[str, dict[str, bytes]]) -> Path:
    """A tar of members ``key.extension`` in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key, members in samples.items():
            for extension, data in members.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def sample(i: int, caption: str | None = None, **extra: bytes) -> dict[str, bytes]:
    """Members of one img2dataset sample."""
    members = {
        "jpg": picture(i),
        "txt": (f"picture number {i}" if caption is None else caption).encode(),
    }
    return {
        **members,
        "json": json.dumps({"url": f"http://x/{i}.jpg", "group": i}).encode(),
        **extra,
    }


def ragged_table(count: int, width: int, seed: int = 0, fullest: bool = False):
    """(indices, scores) of a random hard pair table with lists of 0 to ``width`` partners (all full if asked)."""
    rng = np.random.default_rng(seed)
    indices = np.full((count, width), -1, np.int64)
    scores = np.zeros((count, width), np.float32)
    for row in range(count):
        length = (
            min(width, count - 1) if fullest else int(rng.integers(0, min(width, count - 1) + 1))
        )
        indices[row, :length] = rng.choice(np.delete(np.arange(count), row), length, replace=False)
        scores[row, :length] = np.sort(rng.random(length).astype(np.float32))[::-1]
    return indices, scores


def run(
    *command: str,
    env: dict[str, str] | None = None,
    cwd: Path = ROOT,
    timeout: int = 600,
    fresh: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs a command with this interpreter for ``python``; text output, no check.

    ``python -m`` and ``python -c`` are forks of a process that has PyTorch imported, unless ``fresh``.
    """
    env = env or {}
    if not fresh and can_fork(command, env):
        return fork(command, env, cwd, timeout)
    line = [sys.executable if part == "python" else part for part in command]
    return subprocess.run(
        line,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
        env={**os.environ, **env},
    )


@dataclass(frozen=True)
class Done:
    """A command that ran in this process, with what it returned and printed."""

    returncode: int
    stdout: str
    stderr: str


def in_process(main: Callable[[list[str]], int], *arguments: object) -> Done:
    """Runs a command in this process: starting one of its own takes seconds."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code = 0
    with (
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        mock.patch.object(sys, "argv", [*sys.argv]),
    ):
        try:
            run_command(lambda: main([str(argument) for argument in arguments]))
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Done(code, stdout.getvalue(), stderr.getvalue())


def torchrun(processes: int, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Real torchrun with gloo on the CPU."""
    return run(
        "python",
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(processes),
        *arguments,
        **options,
    )


def listen_to_ctrl_c() -> None:
    """For ``preexec_fn``: a process started in a shell's background inherits that SIGINT is ignored, and bash cannot undo that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
