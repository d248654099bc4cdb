"""Which process holds something, and whether it is still there."""

from __future__ import annotations

import os
import socket

import pytest

from hardpairs.core.holder import is_gone, read_holder, this_process


def test_a_process_is_gone_when_this_machine_has_it_no_more():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    own = this_process()
    assert own["host"] == socket.gethostname() and not is_gone(own)
    assert is_gone({**own, "pid": child}) and is_gone({**own, "start": "1"})  # a number used again
    for other in ({"host": "elsewhere"}, {"space": 1}):  # a container has numbers of its own
        assert not is_gone({**own, "pid": child, **other})


@pytest.mark.parametrize("content", [b"", b"{torn", b"[]", b"\xff"])
def test_a_torn_file_names_nobody(content, tmp_path):
    assert read_holder(tmp_path / "lock") is None
    (tmp_path / "lock").write_bytes(content)
    assert read_holder(tmp_path / "lock") == {}
    assert not is_gone({})
