"""States are copied between two steps and written beside them."""

from __future__ import annotations

import time
from functools import partial

import pytest
import torch

from hardpairs.training import saving
from hardpairs.training.saving import STEP, StateWriter, copied, is_amid


def test_a_copy_is_nothing_of_the_original():
    weight = torch.zeros(2, requires_grad=True)
    original = {"a": [weight, (1, "b")], "c": {"d": None}}
    copy = copied(original)
    with torch.no_grad():
        weight += 1
    assert copy["a"][0].tolist() == [0, 0] and not copy["a"][0].requires_grad
    assert copy["a"][1] == (1, "b") and copy["c"] == {"d": None}


def test_it_writes_every_so_many_steps_what_was_there_then(tmp_path):
    path, weight = tmp_path / "epoch_latest.pt", torch.zeros(1)
    writer = StateWriter(path, every_steps=3)
    for step in range(1, 6):
        weight += 1
        writer.after_step(partial(dict, {STEP: step, "weight": weight}))
        assert path.exists() <= (step > 2)
    writer.wait()
    stored = torch.load(path)
    assert stored[STEP] == stored["weight"].item() == 3
    writer.write_now({STEP: 9, "weight": weight})
    assert torch.load(path)[STEP] == 9 and is_amid(path)


def test_it_writes_every_so_many_minutes(tmp_path):
    writer = StateWriter(tmp_path / "state.pt", every_minutes=1e-3)
    time.sleep(0.1)
    writer.after_step(lambda: {STEP: 1})
    writer.wait()
    assert is_amid(tmp_path / "state.pt")


def test_a_checkpoint_of_an_epoch_is_no_state(tmp_path):
    torch.save({"epoch": 1}, tmp_path / "epoch_1.pt")
    assert not is_amid(tmp_path / "epoch_1.pt")


def test_a_state_that_cannot_be_written_stops_the_run(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "save_checkpoint", full)
    writer = StateWriter(tmp_path / "state.pt", every_steps=1)
    writer.after_step(lambda: {STEP: 1})
    with pytest.raises(OSError, match="No space"):
        writer.wait()
