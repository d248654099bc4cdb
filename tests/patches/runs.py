"""Training runs as small as they can be; called in the process of a copy of OpenCLIP."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

MODEL = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 8, "head_width": 4, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


def train(
    world_size: int,
    logs: str,
    *argv: str,
    timeout: float = 240,
    file_limit: int = 0,
    as_command: bool = False,
) -> list[tuple[int | None, str]]:
    """Runs ``open_clip_train.main`` with a tiny model on the CPU, one forked process per rank.

    Args:
        world_size: number of ranks.
        logs: folder for the run called "run".
        argv: more flags.
        timeout: seconds until ranks that still run are killed.
        file_limit: bytes at which a write into a file kills the process; 0 for no limit.
        as_command: run ``hardpairs train``, with its exit codes.

    Returns:
        For each rank its exit status, None when it had to be killed, negative for a signal, and what it printed.
    """
    port = str(20000 + os.getpid() % 20000)
    common = [
        "--model",
        "tiny",
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--workers",
        "0",
        "--batch-size",
        "4",
        "--logs",
        logs,
        "--name",
        "run",
    ]
    children = {}
    for rank in range(world_size):
        output = Path(logs).parent / f"rank-{rank}.txt"
        child = os.fork()
        if child == 0:
            environment = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": world_size,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            }
            os.environ.update({name: str(value) for name, value in environment.items()})
            _rank([*common, *argv], output, file_limit, as_command)
        children[child] = output
    return _wait(children, time.monotonic() + timeout)


def _rank(argv: list[str], output: Path, file_limit: int, as_command: bool) -> None:
    import open_clip
    from open_clip_train.main import main

    with open(output, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    if file_limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    status = 1
    try:
        config = output.with_name("tiny.json")
        config.write_text(json.dumps(MODEL))
        open_clip.add_model_config(config)
        if as_command:
            from hardpairs.cli import train as command
            from hardpairs.core.errors import run_command

            run_command(lambda: command.main(argv))
        main(argv)  # as OpenCLIP's own last line does
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _wait(children: dict[int, Path], deadline: float) -> list[tuple[int | None, str]]:
    results: dict[int, int | None] = {}
    while len(results) < len(children):
        for child in children.keys() - results.keys():
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                results[child] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                results[child] = None
        time.sleep(0.02)
    return [(results[child], output.read_text()) for child, output in children.items()]
