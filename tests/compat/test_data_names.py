"""A command's data may be named as in the other commands."""

from __future__ import annotations

import re

import pytest

from hardpairs.cli import COMMANDS, check_data, console
from hardpairs.compat import translate
from hardpairs.compat.data_names import NAMES, OWN, POSITIONAL
from tests.helpers import in_process

OTHER_MEANING = {"photos", "quickstart"}
"""Commands whose ``--data`` is something beside the data that they are about."""


@pytest.mark.parametrize(("command", "own"), OWN.items())
@pytest.mark.parametrize("name", NAMES)
def test_every_name_works_in_every_command(command, own, name):
    flag = [] if own == POSITIONAL else [own]
    assert translate(command, [name, "x.csv", "--out", "o"])[0] == [*flag, "x.csv", "--out", "o"]
    joined = ["x.csv"] if own == POSITIONAL else [f"{own}=x.csv"]
    assert translate(command, [f"{name}=x.csv"])[0] == joined


def test_no_command_that_names_data_is_left_out():
    named = re.compile(rf"(?m)^  (?:{'|'.join(NAMES)}) |^  data  ")
    helps = {name: in_process(console.run, *name.split(), "--help").stdout for name in COMMANDS}
    assert {name for name, text in helps.items() if named.search(text)} - OTHER_MEANING == {*OWN}


def test_a_command_takes_it(table, capsys):
    assert check_data.main([str(table), "--json"]) == 0
    told = capsys.readouterr().out
    assert check_data.main(["--train-data", str(table), "--json"]) == 0
    assert capsys.readouterr().out == told
