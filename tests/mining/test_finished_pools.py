"""Pools that an earlier run finished."""

import pytest

from hardpairs.core.progress import Progress
from hardpairs.mining.api import Execution
from hardpairs.mining.engine.cpu import CpuEngine
from tests.mining.searches import assert_same, search, themed


@pytest.mark.parametrize("stop_at", [2, 5, 11])
def test_stopped_and_started_again(tmp_path, monkeypatch, stop_at, capsys):
    """Finished pools are not searched again, and those of other options are discarded."""
    image, text = themed(200, 16), themed(200, 16, 1)
    options = {"approx": 60, "approx_targets": 15}
    expected = search(image, text, 6, **options)
    calls, offer = [], CpuEngine.offer

    def stop_later(self, *arguments):
        calls.append(1)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        offer(self, *arguments)

    monkeypatch.setattr(CpuEngine, "offer", stop_later)

    def begin(recipe=5):
        progress = Progress(tmp_path / "work", {"recipe": recipe}, every=0.0)
        progress.begin(discard=True)
        return search(image, text, 6, execution=Execution(progress=progress), **options)

    with pytest.raises(KeyboardInterrupt):
        begin()
    tiles = len(calls)
    result = begin()
    assert_same(result, (expected.indices, expected.scores, expected.kept, expected.removed))
    whole = len(calls) - tiles
    begin(6)
    assert len(calls) - tiles - whole > whole, "another recipe begins anew"
    assert "discarding unfinished work" in capsys.readouterr().err
