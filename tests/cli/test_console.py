"""The console command: its table of commands, what an import costs, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hardpairs
from hardpairs.cli import COMMANDS
from tests.helpers import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
HEAVY = {
    "torch",
    "open_clip",
    "numba",
    "matplotlib",
    "gradio",
    "sklearn",
    "timm",
}
HELP = """
import contextlib, io, json, os, sys
from hardpairs.cli.console import run
for line in json.load(sys.stdin):
    if process := os.fork():  # no line meets what another one imported
        os.waitpid(process, 0)
        continue
    out, code = io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(out):
            run(line)
    except SystemExit as stop:
        code = stop.code
    print(json.dumps([code, out.getvalue(), list(sys.modules)]), flush=True)
    os._exit(0)
"""


def hardpairs_command(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "hardpairs.cli", *words],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, **environment},
    )


def test_the_table_holds_every_command_module():
    paths = (ROOT / "src/hardpairs/cli").glob("*.py")
    modules = {path.stem for path in paths if "\ndef main(" in path.read_text()} - {
        "__main__",
        "console",
    }
    assert {command.module for command in COMMANDS.values()} == modules


@pytest.fixture(scope="module")
def helps():
    """Exit code, output and imported modules of each command's ``--help``."""
    ran = subprocess.run(
        [sys.executable, "-c", HELP],
        input=json.dumps([[*name.split(), "--help"] for name in COMMANDS]),
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert ran.returncode == 0, ran.stderr
    return dict(zip(COMMANDS, map(json.loads, ran.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_light(helps, name):
    code, usage, modules = helps[name]
    assert code == 0 and usage.startswith(f"usage: hardpairs {name} ")
    assert not HEAVY & set(modules)


def test_the_whole_command():
    shown = hardpairs_command()
    assert shown.returncode == 0
    assert all(f"  {name} " in shown.stdout for name in COMMANDS)
    assert hardpairs_command("--version").stdout == f"hardpairs {hardpairs.__version__}\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["mien"], "one of: mine"),
        (["inspect", "nothing"], "one of: inspect pairs, inspect batches"),
        (["inspect"], "one of: inspect pairs, inspect batches"),
        (["--nothing"], "error: there is no flag --nothing"),
        (["patch", "--targte", "x"], "did you mean --target"),
    ],
)
def test_unknown_words_are_refused(words, says):
    refused = hardpairs_command(*words)
    assert refused.returncode == 2 and says in refused.stderr


def completions(line: str, tmp_path: Path) -> list[str]:
    answer = tmp_path / "answer"
    answer.touch()
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    point = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    done = hardpairs_command(**asked, **point, _ARGCOMPLETE_SUPPRESS_SPACE="1")
    assert done.returncode == 0, done.stderr
    return answer.read_text().split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hardpairs pa", ["patch"]),
        ("hardpairs inspect ", ["batches", "pairs"]),
        ("hardpairs patch --rev", ["--reverse"]),
        ("hardpairs patch --series m", ["mends"]),
        ("hardpairs list enc", ["encoders"]),
        ("hardpairs nothing --x", []),
    ],
)
def test_completion(line, words, tmp_path):
    assert completions(line, tmp_path) == words


def test_every_command_is_completed(tmp_path):
    assert set(completions("hardpairs ", tmp_path)) == {name.split()[0] for name in COMMANDS}
