"""Parts that are made once, by whoever takes them: processes that come late, die, or fall asleep."""

from __future__ import annotations

import os
import signal
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from hardpairs.data.opening import open_samples
from hardpairs.embedding.embed import embed_to_folder
from hardpairs.embedding.making import by_part
from hardpairs.embedding.parts import Parts
from hardpairs.embedding.stream import Embedded
from tests.embedding.colors import simple_encoders
from tests.embedding.sharing import OPTIONS, PLACES
from tests.embedding.test_embed import content
from tests.helpers import ROOT
from tests.processes import start


def embedded(rows: list[int]) -> Embedded:
    """Return one number for each row, and reject each row that 5 divides."""
    kept = np.array([row for row in rows if row % 5], np.int64)
    numbers = kept[:, None].astype(np.float32)
    return Embedded(numbers, numbers, kept, {row: "fifth" for row in rows if row % 5 == 0})


@pytest.mark.parametrize("ahead", [0, 1, 4, 100])
def test_one_stream_of_batches_gives_the_parts_one_by_one(tmp_path, ahead):
    """Whatever number of batches the loader asks for ahead; a part may be without usable rows."""
    parts, numbers = Parts(tmp_path, {}, count=23, size=4, batch_size=3), [0, 2, 3, 4, 5]
    rejected = {1, *range(8, 16), 20, 21, 22}

    def encode(batches):
        batches, waiting = iter(batches), []
        while waiting := [*waiting, *islice(batches, ahead + 1 - len(waiting))]:
            yield embedded(waiting.pop(0))

    found = list(by_part(parts, numbers, rejected, encode))
    assert [number for number, _ in found] == numbers
    for number, part in found:
        rows = [row for row in parts.rows(number) if row not in rejected]
        expected = embedded(rows)
        assert part.rows.tolist() == expected.rows.tolist() and part.rejected == expected.rejected
        assert part.image.tolist() == expected.image.tolist()


def whole(table, tmp_path):
    """Return the bytes that one process writes."""
    embed_to_folder(open_samples(table), simple_encoders(), tmp_path / "whole", **OPTIONS)
    return content(tmp_path / "whole")


def begin(table, out, *flags):
    line = ("python", "-m", "tests.embedding.sharing", str(table), str(out), *flags)
    return start(line, {}, ROOT, out.with_suffix(".out"), out.with_suffix(".err"))


def wait_until(is_so, seconds=30):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_processes_that_come_late_share_the_work(table, tmp_path):
    out = tmp_path / "shared"
    first = begin(table, out, "--slow", ".1")
    wait_until(lambda: len([*out.glob(".unfinished/part_*.npz")]) >= 2)
    later = [begin(table, out, "--slow", ".1") for _ in range(2)]
    for process in (first, *later):
        process.join(30)
    assert [process.exitcode for process in (first, *later)] == [0, 0, 0]
    assert content(out) == whole(table, tmp_path)
    made = [path.name.split("-") for path in out.with_suffix(".made").iterdir()]
    assert sorted(int(number) for number, _ in made) == list(range(14))  # each once
    assert {int(pid) for _, pid in made} == {first.pid, *(process.pid for process in later)}
    told = out.with_suffix(".err").read_text()
    assert told.count("40 pairs = 40 embedded + 0 rejected") == 1


@pytest.mark.parametrize("host", ["", "elsewhere"])
@pytest.mark.parametrize("place", ["a part is encoded", "parts are being joined"])
def test_what_a_killed_process_had_taken_is_taken_again(table, tmp_path, place, host):
    """At once on its own machine, and by the end of the lease on another one."""
    out = tmp_path / "killed"
    process = begin(table, out, "--at", place, "SIGKILL", *(["--host", host] if host else []))
    process.join(30)
    assert process.exitcode == -signal.SIGKILL and [*out.glob(".unfinished/*.lease")]
    embed_to_folder(open_samples(table), simple_encoders(), out, **OPTIONS)
    assert content(out) == whole(table, tmp_path)


@pytest.mark.parametrize("place", PLACES)
def test_a_process_that_wakes_after_its_lease_does_no_harm(table, tmp_path, place):
    """Another one has made its part, or joined all parts and removed them."""
    out, expected = tmp_path / "asleep", whole(table, tmp_path)
    process = begin(table, out, "--at", place, "SIGSTOP")
    wait_until(lambda: is_stopped(process.pid))
    embed_to_folder(open_samples(table), simple_encoders(), out, **OPTIONS)
    assert (out / "manifest.json").exists()
    os.kill(process.pid, signal.SIGCONT)
    process.join(30)
    assert process.exitcode == 0, out.with_suffix(".err").read_text()
    assert content(out) == expected
