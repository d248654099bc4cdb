"""A command of ours with a slow disk and a wrong clock, while files in ``CHAOS`` say how slow and how wrong.

python -m tests.chaos.rank train ...
"""

import importlib
import os
import sys
import time
from pathlib import Path

from hardpairs.core.errors import run_command

FOLDER = Path(os.environ["CHAOS"])
fsync, clock = os.fsync, time.time


def seconds(name: str) -> float:
    try:
        return float((FOLDER / name).read_text())
    except (OSError, ValueError):
        return 0.0


def slow_fsync(handle: int) -> None:
    time.sleep(seconds("slow"))
    fsync(handle)


os.fsync = slow_fsync
time.time = lambda: clock() + seconds("clock")
command = importlib.import_module(f"hardpairs.cli.{sys.argv[1]}")
run_command(lambda: command.main(sys.argv[2:]))
