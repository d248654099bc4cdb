"""A calibration as a whole, on few rows."""

from __future__ import annotations

import pytest

from hardpairs.planning import calibrate, measure_mining
from hardpairs.planning.machine import LossRates, open_machine
from tests.planning.machines import MINING
from tests.planning.test_measure_mining import SMALL


def test_what_is_measured_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(calibrate, "measure_mining", lambda effort: MINING)
    monkeypatch.setattr(calibrate, "measure_loss", lambda: LossRates(1e-8, 1e-10))
    monkeypatch.setattr(calibrate, "network_rate", lambda size: 1e9)
    monkeypatch.setattr(calibrate, "_process_bytes", calibrate._load)
    machine = calibrate.calibrate(tmp_path, effort=SMALL, transfer=1 << 16)
    assert machine.process_bytes > 1 << 20 and machine.free_memory > 1 << 20
    assert machine.description["torch"] and machine.encoder is None
    machine.save(tmp_path / "machine.json")
    assert open_machine(tmp_path / "machine.json") == machine


@pytest.mark.slow
def test_a_whole_calibration(monkeypatch, tmp_path):
    monkeypatch.setattr(measure_mining, "PRODUCT_BLOCK", 128)
    machine = calibrate.calibrate(tmp_path, effort=SMALL, transfer=1 << 16)
    assert machine.network_rate > 0 and machine.mining.compared_rows == 600
