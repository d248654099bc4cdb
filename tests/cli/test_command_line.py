"""Translation before parsing, and the help of other systems' flags."""

import subprocess
import sys

import pytest

from hardpairs import compat
from hardpairs.cli.command_line import command_arguments
from hardpairs.core.errors import UserError


@pytest.mark.parametrize("name", compat.SYSTEMS)
def test_help_of_a_system(name, capsys):
    with pytest.raises(SystemExit) as stop:
        command_arguments("train", ["--help-compat", name])
    text = capsys.readouterr().out
    system = compat.SYSTEMS[name]
    assert stop.value.code == 0 and system.title in text
    for flag in (*system.spellings.get("train", ()), *system.presets):
        assert flag in text


def test_help_of_all_systems(capsys):
    with pytest.raises(SystemExit):
        command_arguments("link", ["--help-compat"])
    assert "--specified_thresh" in capsys.readouterr().out
    with pytest.raises(UserError, match="knows no system 'x'"):
        command_arguments("link", ["--help-compat", "x"])


def test_one_process_of_several_speaks(monkeypatch, capsys):
    for rank, said in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        command_arguments("train", ["--dataset_name", "x"])
        assert bool(capsys.readouterr().err) == said


def test_translation_needs_no_torch():
    code = "import sys, hardpairs.cli.command_line; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
