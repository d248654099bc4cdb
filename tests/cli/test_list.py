"""``hardpairs list``: every component with its sentence, and its flags, without PyTorch."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from hardpairs.cli.list import REGISTRIES, main
from tests.helpers import ROOT


def components(kind: str):
    module, name = REGISTRIES[kind]
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_component_is_listed(kind, capsys):
    assert main([kind]) == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows == {name: each.summary for name, each in components(kind).items()}
    assert all(rows.values())


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_flag_is_listed(kind, capsys):
    assert main([kind, "--options"]) == 0
    lines = {line.strip() for line in capsys.readouterr().out.splitlines()}
    for declaration in components(kind).values():
        assert {option.flag for option in declaration.options} <= lines


def test_all_kinds_without_pytorch():
    code = """
import sys
from hardpairs.cli.list import main
main([])
print("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "src"
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.endswith(":")] == [
        f"{kind}:" for kind in (*REGISTRIES, "recipes")
    ]
    assert lines[-1] == "False"
