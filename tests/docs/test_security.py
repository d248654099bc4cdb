"""SECURITY.md and docs/reliability.md: each sentence names a test that exists; and the tests of two sentences."""

import ast
import re
import socket
from pathlib import Path

import pytest

from hardpairs.cli import embed, mine
from tests.helpers import ROOT, in_process

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
FORBIDDEN = (
    r"\bpickle\.loads?\(",
    r"\bdill\b",
    r"\bjoblib\b",
    r"\byaml\.(unsafe_|full_)?load\(",
    r"(?<![\w.])(eval|exec)\(",
    r"shell=True",
    r"\bos\.(system|popen)\(",
    r"\bextractall\(",
    r"trust_remote_code=True",
    r"allow_pickle=True",
    r"torch\.load\((?![^\n]*weights_only=True)",
)
"""Calls that run what data says."""


def sources() -> list[Path]:
    return sorted((ROOT / "src/hardpairs").rglob("*.py"))


@pytest.mark.parametrize("name", ["SECURITY.md", "docs/reliability.md"])
def test_the_tests_that_are_named_exist(name):
    if not (ROOT / name).exists():
        pytest.skip(f"no {name}")
    text = (ROOT / name).read_text(encoding="utf-8")
    named = NAMED.findall(text)
    for path, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / path).read_text(encoding="utf-8"), re.M), test
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert named and rows and all(NAMED.search(row) for row in rows)


def test_the_package_runs_no_code_of_data():
    for path in sources():
        text = path.read_text(encoding="utf-8")
        for place in (match for pattern in FORBIDDEN for match in re.finditer(pattern, text)):
            line = text[: place.start()].count("\n") + 1
            pytest.fail(f"{path.relative_to(ROOT)}:{line}: {place[0]}")
        assert "from pickle" not in text and "from torch import load" not in text
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                assert "shelve" not in {name.name for name in node.names}


def test_commands_open_no_connection(table, checkpoint, tmp_path, monkeypatch):
    asked = []

    def refuse(_, address):
        asked.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: refuse(None, address))
    model = ("--model", "hardpairs-test", "--pretrained", checkpoint, "--device", "cpu")
    out = tmp_path / "embedded"
    embedded = in_process(embed.main, "--csv", table, *model, "--out", out, "--workers", 0)
    assert embedded.returncode == 0, embedded.stderr
    line = ("--dataset", "x", "--embeddings", out, "--save_path", tmp_path / "mined", "--topk", 3)
    mined = in_process(mine.main, *line, "--device", "cpu", "--duplicate-threshold", 2)
    assert mined.returncode == 0, mined.stderr
    assert asked == []
