"""Who gets a lease, when it ends, and what a process may do that has lost one."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from hardpairs.core import lease, ranges, shared_files
from hardpairs.core.errors import UserError
from hardpairs.core.lease import Leases, looks
from tests.object_store import make_store

DAY = 86400.0


def test_of_many_processes_one_gets_each_lease(tmp_path):
    (tmp_path / "leases").mkdir()
    names, children = [f"piece_{number}" for number in range(50)], []
    for number in range(4):
        children.append(os.fork())
        if not children[-1]:
            with Leases(tmp_path / "leases") as leases:
                taken = [name for name in names if leases.take(name)]
                (tmp_path / f"{number}.part").write_text("\n".join(taken))
                (tmp_path / f"{number}.part").rename(tmp_path / f"{number}.taken")
                time.sleep(60)
            os._exit(0)
    end = time.monotonic() + 20
    while len(found := [*tmp_path.glob("*.taken")]) < 4 and time.monotonic() < end:
        time.sleep(0.01)
    taken = [name for path in found for name in path.read_text().split()]
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert sorted(taken) == sorted(names)
    with Leases(tmp_path / "leases") as leases:  # they are gone, and with them their leases
        assert all(leases.take(name) for name in names)
    assert not os.listdir(tmp_path / "leases")


def write_lease(folder, content, age):
    path = folder / "a.lease"
    path.write_bytes(content)
    then = time.time() - age
    os.utime(path, (then, then))


ELSEWHERE = json.dumps({"host": "elsewhere", "pid": 1, "start": "1"}).encode()


@pytest.mark.parametrize("content", [ELSEWHERE, b"", b"{torn"])
@pytest.mark.parametrize("ahead", [0.0, DAY, -DAY])
def test_a_silent_lease_ends_by_the_time_of_the_folder(content, ahead, tmp_path, monkeypatch):
    """A machine whose clock is wrong by a day sees the same."""
    write_lease(tmp_path, content, 50)
    now = time.time
    monkeypatch.setattr(lease.time, "time", lambda: now() + ahead)
    with Leases(tmp_path, 60) as leases:
        assert not leases.take("a")
    with Leases(tmp_path, 40) as leases:
        assert leases.take("a") and not leases.take("a")


@pytest.fixture(params=["folder", "store"])
def place(request, tmp_path, monkeypatch):
    return tmp_path if request.param == "folder" else make_store(tmp_path.name, monkeypatch)


def test_a_lease_is_signed_as_long_as_it_is_held(place):
    with Leases(place, 0.4) as holder, Leases(place, 0.4) as other:
        assert holder.take("a")
        time.sleep(1)
        assert not other.take("a") and f"process {os.getpid()} on" in other.holder("a")
        holder.release("a")
        assert other.take("a") and other.holder("b") == "another process"


def test_a_lease_in_a_store_ends_when_nobody_signs_it(tmp_path, monkeypatch):
    store = make_store(tmp_path.name, monkeypatch)
    shared_files.create(store / "a.lease", ELSEWHERE)
    with Leases(store, 0.4) as leases:
        assert not leases.take("a") and leases.holder("a") == "process 1 on elsewhere"
        time.sleep(0.5)
        assert leases.take("a") and f"process {os.getpid()} on" in leases.holder("a")
    assert not shared_files.files_in(store, "*")


def test_a_lease_that_was_given_back_is_not_signed_anew(tmp_path, monkeypatch):
    """A signature in a store is the whole lease."""
    store = make_store(tmp_path.name, monkeypatch)
    with Leases(store, 0.002) as leases:
        for number in range(300):
            assert leases.take(f"{number}")
            leases.release(f"{number}")
    assert not shared_files.files_in(store, "*")


def test_a_store_that_does_not_answer_takes_no_lease_and_keeps_none(tmp_path, monkeypatch):
    """The run that asks for one ends with the store's error; one that gives back goes on."""
    store = make_store(tmp_path.name, monkeypatch)
    monkeypatch.setattr(ranges, "WAITS", ())

    def refuse(*_, **__):
        raise PermissionError("no access")

    with Leases(store, 60) as leases:
        assert leases.take("a")
        monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
        with pytest.raises(UserError, match="no access") as error:
            leases.take("b")
        assert error.value.code == 3
        monkeypatch.setattr(MemoryFileSystem, "rm_file", refuse)
        leases.release("a")
    assert shared_files.exists(store / "a.lease")


def test_a_process_that_lost_its_lease_leaves_it_alone(tmp_path):
    """It was stopped for longer than the lease, and another one has it now."""
    with Leases(tmp_path, 0.2) as leases:
        assert leases.take("a") and leases.take("b")
        for name in "ab":
            (tmp_path / f"{name}.lease").write_bytes(ELSEWHERE)
            os.utime(tmp_path / f"{name}.lease", (1, 1))
        time.sleep(0.3)
        assert (tmp_path / "a.lease").stat().st_mtime == 1
        leases.release("a")
    assert sorted(os.listdir(tmp_path)) == ["a.lease", "b.lease"]


def test_looks_become_rare(monkeypatch):
    pauses = []
    monkeypatch.setattr(lease.time, "sleep", pauses.append)
    assert [number for number, _ in zip(looks(), range(11))] == list(range(11))  # noqa: B905
    assert pauses[:3] == [0.05, 0.1, 0.2] and pauses[-1] == 5.0 and sum(pauses[:6]) > 1
