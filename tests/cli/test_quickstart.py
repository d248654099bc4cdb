"""The command line of hardpairs quickstart; tests/demo/test_quickstart.py runs it."""

from __future__ import annotations

import pytest

from hardpairs.cli.quickstart import main


@pytest.mark.parametrize("flags", [("--sedes", "3"), ("--seeds", "none"), ("--seeds", "0")])
def test_wrong_flags(flags, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(list(flags))
    assert stop.value.code == 2 and not list(tmp_path.iterdir())
