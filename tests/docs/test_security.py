"""Each sentence of SECURITY.md and kind of damage in docs/reliability.md names a test that exists; and the tests of two sentences."""

import re
import socket
from pathlib import Path

import pytest

from hardpairs.cli import embed, mine
from tests.helpers import ROOT, in_process

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
FORBIDDEN = (
    r"\bpickle\.loads?\(",
    r"import (dill|joblib|shelve|marshal)\b",
    r"from pickle import",
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


def named_tests(text: str) -> list[str]:
    """Return the tests that a text names, after looking for each."""
    for path, test in NAMED.findall(text):
        assert re.search(rf"^def {test}\(", (ROOT / path).read_text(encoding="utf-8"), re.M), test
    return [test for _, test in NAMED.findall(text)]


def test_each_sentence_has_a_test():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15 and all(map(named_tests, rows))


def test_each_kind_of_damage_has_a_test():
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    whole = text[text.index("## Kills and crashes") :]
    rows = [line for line in whole.splitlines() if re.match(r"\| (?!command |fault )", line)]
    assert len(rows) > 20 and all(map(named_tests, rows))


def test_the_package_runs_no_code_of_data():
    for path in sources():
        text = path.read_text(encoding="utf-8")
        for place in (match for pattern in FORBIDDEN for match in re.finditer(pattern, text)):
            line = text[: place.start()].count("\n") + 1
            pytest.fail(f"{path.relative_to(ROOT)}:{line}: {place[0]}")


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
