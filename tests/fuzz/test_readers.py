"""Damaged files: a right result or an error of ours, in 5 s and 300 MB, whatever the damage.

``HARDPAIRS_FUZZ`` is the number of files of each reader (default 50; the slow test has 1,000). A
failure names the seed; ``mutated(reader.whole, seed, reader.more)`` makes its file again.
"""

from __future__ import annotations

import os
import resource
import signal
import traceback
import warnings
from pathlib import Path

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.images import UnreadableImage
from tests.fuzz.mutations import mutated
from tests.fuzz.readers import Reader, readers

SECONDS, MEGABYTES = 5, 300
FILES = int(os.environ.get("HARDPAIRS_FUZZ", "50"))


class Hang(BaseException):
    """A file took longer than ``SECONDS``."""


def _on_alarm(*_: object) -> None:
    raise Hang


def outcome(reader: Reader, path: Path, seed: int) -> str:
    """Return what is wrong with reading a damaged file; empty where nothing is."""
    path.write_bytes(mutated(reader.whole, seed, reader.more))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        reader.read(path)
    except (UserError, UnreadableImage):
        pass
    except Hang:
        return f"seed {seed}: longer than {SECONDS} s"
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        ours = [
            f"{Path(frame.filename).name}:{frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
            if "hardpairs" in frame.filename
        ]
        return f"seed {seed}: {type(error).__name__} {str(error)[:90]} at {ours[-1:] or last.name}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return f"seed {seed}: {grown:.0f} MB" if grown > MEGABYTES else ""


def check(folder: Path, count: int) -> list[str]:
    """Return what is wrong with ``count`` damaged files of each reader."""
    wrong = []
    before = signal.signal(signal.SIGALRM, _on_alarm)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, reader in readers(folder).items():
                path = folder / reader.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(reader.whole)
                reader.read(path)
                faults = [outcome(reader, path, seed) for seed in range(count)]
                wrong += [f"{name}, {fault}" for fault in faults if fault]
    finally:
        signal.signal(signal.SIGALRM, before)
    return wrong


def test_damaged_files(memory_folder):
    assert check(memory_folder, FILES) == []


@pytest.mark.slow
def test_many_damaged_files(memory_folder):
    assert check(memory_folder, max(FILES, 1000)) == []
