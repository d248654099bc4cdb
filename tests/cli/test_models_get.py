"""hardpairs models get: its errors; what it makes is tested with the model."""

from __future__ import annotations

from hardpairs.cli.models_get import main
from hardpairs.data.manifest import write_manifest
from tests.helpers import in_process


def test_a_finished_folder_is_named(tmp_path):
    write_manifest(tmp_path / "model", {"kind": "model", "name": "lite0-minilm"})
    done = in_process(main, "lite0-minilm", "--out", tmp_path / "model")
    assert done.returncode == 0 and f"--model local-dir:{tmp_path / 'model'}" in done.stderr


def test_unknown_names_are_refused_with_the_known_ones(tmp_path):
    done = in_process(main, "lite9", "--out", tmp_path / "model")
    assert done.returncode == 2 and "lite0-minilm, MODEL/TAG" in done.stderr
