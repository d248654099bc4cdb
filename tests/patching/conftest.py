"""The patch command, a user's clone, and the folder of our own copy."""

from __future__ import annotations

import pytest

from tests.patching.clones import generated_folder, make_clone, patch_command


@pytest.fixture
def run(capsys):
    return patch_command(capsys)


@pytest.fixture
def clone(tmp_path):
    return make_clone(tmp_path / "clone")


@pytest.fixture
def generated(tmp_path, monkeypatch):
    return generated_folder(tmp_path, monkeypatch)
