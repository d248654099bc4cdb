"""Refusals of the parser: one message with the nearest flags, and nothing else."""

import argparse
import json

import pytest

from hardpairs.core.parser import Parser, shorten_refusals


def parser() -> Parser:
    made = Parser(prog="made")
    made.add_argument("--dataset", required=True)
    made.add_argument("--top-k", type=int)
    commands = made.add_subparsers()
    commands.add_parser("serve").add_argument("--port", type=int)
    return made


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--dataset", "x", "--topk=3"], "no flag --topk\n  fix: did you mean --top-k? --help"),
        (["--dataste=x"], "no flag --dataste\n  fix: did you mean --dataset?"),
        (["--dataset", "x", "serve", "--prot", "3"], "did you mean --port?"),
        (["--dataset", "x", "--zzz", "--yyy"], "no flag --zzz and no flag --yyy\n  fix: --help"),
        ([], "error: the following arguments are required: --dataset\n"),
        (["--data", "x", "--top-k", "y"], "error: --top-k: invalid int value: 'y'\n"),
        (["--dataset", "x", "sreve"], "invalid choice: 'sreve' (choose from"),
    ],
)
def test_one_message(words, says, capsys):
    with pytest.raises(SystemExit) as stop:
        parser().parse_args(words)
    text = capsys.readouterr().err
    assert stop.value.code == 2 and says in text
    assert text.startswith("error: ") and text.count("\n") == 2 and "usage:" not in text


def test_the_launcher_is_told(tmp_path, monkeypatch, capsys):
    """Under torchrun it prints the message of the first failing rank at the end."""
    monkeypatch.setenv("HARDPAIRS_STATUS_FILE", str(tmp_path / "status.json"))
    with pytest.raises(SystemExit):
        parser().parse_args(["--dataste", "x"])
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["code"] == 2 and status["message"].startswith("error: ")
    assert not capsys.readouterr().err


def test_a_parser_of_another_library(capsys):
    theirs = argparse.ArgumentParser(prog="theirs")
    theirs.add_argument("--batch-size")
    shorten_refusals(theirs)
    with pytest.raises(SystemExit) as stop:
        theirs.parse_args(["--batchsize", "3"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: there is no flag --batchsize\n  fix: did")
