"""What readers make of damaged files: a right result or an error of ours, in 5 s and 300 MB."""

from __future__ import annotations

import contextlib
import resource
import signal
import traceback
import warnings
from pathlib import Path

from hardpairs.core.errors import UserError
from hardpairs.data.images import UnreadableImage
from tests.fuzz.mutations import mutated
from tests.fuzz.reader import Reader
from tests.fuzz.readers import files_of, readers

SECONDS, MEGABYTES = 5, 300


class Hang(BaseException):
    """A file took more than ``SECONDS`` of processor time: a busy machine changes nothing."""


def _on_alarm(*_: object) -> None:
    raise Hang


def check(folder: Path, count: int) -> dict[str, tuple[int, list[str]]]:
    """Read ``count`` damaged files, which the readers share.

    Args:
        folder: An empty folder, best one in memory.
        count: How many.

    Returns:
        The number of files of each reader, and what was wrong.
    """
    before = signal.signal(signal.SIGPROF, _on_alarm)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            every = readers(folder)
            files = files_of(every, count)
            return {
                reader.name: (files[reader.name], _faults(reader, folder, files[reader.name]))
                for reader in every
            }
    finally:
        signal.signal(signal.SIGPROF, before)


def _faults(reader: Reader, folder: Path, count: int) -> list[str]:
    path = folder / reader.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(reader.whole)
    reader.read(path)  # the whole file is right
    with contextlib.suppress(OSError):  # the peak of memory starts anew
        Path("/proc/self/clear_refs").write_text("5")
    return [fault for seed in range(count) if (fault := outcome(reader, path, seed))]


def outcome(reader: Reader, path: Path, seed: int) -> str:
    """Return what is wrong with reading a damaged file; empty where nothing is."""
    path.write_bytes(mutated(reader.whole, seed, reader.more))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        reader.read(path)
    except (UserError, UnreadableImage):
        pass
    except Hang:
        return f"seed {seed}: longer than {SECONDS} s"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "hardpairs" in frame.filename] or frames
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return f"seed {seed}: {type(error).__name__} {str(error)[:90]} at {where}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return f"seed {seed}: {grown:.0f} MB" if grown > MEGABYTES else ""
