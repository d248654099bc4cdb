"""Every command line in README, docs and patches/README.md names commands and flags that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache

import pytest

from tests.docs.blocks import blocks_of, commands_of
from tests.helpers import ROOT

PAGES = [ROOT / "README.md", ROOT / "patches/README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(
    r"(?:python -m |-m (?:-- )?|^|bash )(?P<name>(?:tools|mining|training|benchmarks)\.[\w.]+"
    r"|scripts/\w+\.sh|hardpairs(?: photos)? [\w-]+)(?P<rest>.*)"
)
TRAINER = {"scripts/train_node.sh", "scripts/train_multinode.sh"}


def documented() -> list[tuple[str, str, str]]:
    found = []
    for page in PAGES:
        for block in blocks_of(page):
            for command in commands_of(block) if block.language == "bash" else ():
                match = COMMAND.search(command)
                if match and "--help" not in command:
                    place = f"{page.relative_to(ROOT)}:{block.line}"
                    found.append((place, match["name"], match["rest"]))
    return found


@cache
def known_flags(name: str) -> frozenset[str]:
    """Return the flags in a command's help, its own and those of other systems."""
    name = "training.main" if name in TRAINER else name
    if name.endswith(".sh"):
        return frozenset(re.findall(r"--[\w-]+", (ROOT / name).read_text()))
    words = name.split()
    start = ["-m", "hardpairs.cli", *words[1:]] if words[0] == "hardpairs" else ["-m", name]
    helps = [[*start, "--help"], [*start, "--help-compat", "all"]]
    if name == "tools.photo_search":
        helps += [[*start, action, "--help"] for action in ("index", "query", "serve")]
    texts = [subprocess.run([sys.executable, *h], capture_output=True, text=True) for h in helps]
    assert texts[0].returncode == 0, texts[0].stderr
    return frozenset(re.findall(r"(?<![\w-])--?[\w-]+", "".join(done.stdout for done in texts)))


@pytest.mark.parametrize("name", sorted({name for _, name, _ in documented()}))
def test_documented_flags_exist(name):
    for place, other, rest in documented():
        if other == name:
            given = set(re.findall(r"(?<=\s)--[a-z][\w-]*", rest.split(" -- ")[0]))
            missing = {flag for flag in given if flag not in known_flags(name)}
            assert not missing, f"{place}: {name} has no {missing}"
