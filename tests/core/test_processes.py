"""A process that ends with its parent, where the parent wants it."""

import os
import signal
import time

import pytest

from hardpairs.core.processes import PARENT, end_with_parent
from tests.processes import has_ended


@pytest.mark.parametrize("asked", [True, False])
def test_the_child_of_a_killed_parent(asked, tmp_path, monkeypatch):
    pid = tmp_path / "pid"
    parent = os.fork()
    if not parent:
        own = str(os.getpid()) if asked else "1"
        if not os.fork():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.environ[PARENT] = own
            end_with_parent()
            (tmp_path / "new").write_text(str(os.getpid()))
            (tmp_path / "new").rename(pid)
            time.sleep(30)
            os._exit(0)
        time.sleep(30)
        os._exit(0)
    while not pid.exists():
        time.sleep(0.01)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    child = int(pid.read_text())
    assert has_ended(child, 10 if asked else 0.3) == asked
    if not asked:
        os.kill(child, signal.SIGKILL)
