"""Constants are kept, found again, and refused where they are none."""

from __future__ import annotations

import json

import pytest

from hardpairs.core.errors import UserError
from hardpairs.planning.machine import between, default_path, open_machine
from tests.planning.machines import MACHINE, MINING, WITH_MODEL


@pytest.mark.parametrize("machine", [MACHINE, WITH_MODEL])
def test_constants_come_back(machine, tmp_path):
    machine.save(tmp_path / "machine.json")
    assert open_machine(tmp_path / "machine.json") == machine


def test_the_cache_is_where_they_are_without_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="hardpairs plan --calibrate --out") as error:
        open_machine(None)
    assert error.value.code == 2
    default_path().parent.mkdir()
    MACHINE.save(default_path())
    assert open_machine(None) == MACHINE


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 0}'])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "machine.json").write_text(text)
    with pytest.raises(UserError, match="no calibration of this version") as error:
        open_machine(tmp_path / "machine.json")
    assert error.value.code == 3


def test_a_constant_that_is_missing_is_refused(tmp_path):
    file = tmp_path / "machine.json"
    MACHINE.save(file)
    stored = json.loads(file.read_text())
    del stored["mining"]["row_scan"]
    file.write_text(json.dumps(stored))
    with pytest.raises(UserError, match="row_scan"):
        open_machine(file)


def test_between_the_measured_points_is_a_line():
    points = [(768, 8.0), (64, 1.0), (384, 4.0)]
    assert [between(points, at) for at in (64, 224, 384, 768)] == [1.0, 2.5, 4.0, 8.0]
    assert between(points, 1152) == 12.0
    assert between(points, 1) == pytest.approx(1 - 3 * 63 / 320)
    assert between([(64, 1.0), (128, 4.0)], 32) == 0.0
    assert between([(64, 3.0)], 1000) == 3.0


def test_the_precision_is_that_of_the_nearest_width():
    assert MINING.precision(700) == "float32"
