"""Every command line in README, docs and patches/README.md names commands and flags that exist."""

from __future__ import annotations

import re
from functools import cache

import pytest

from hardpairs.cli import COMMANDS, console
from hardpairs.compat import spellings
from tests.docs.blocks import blocks_of, commands_of
from tests.helpers import ROOT, in_process

PAGES = [ROOT / "README.md", ROOT / "patches/README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(
    r"(?:python -m |-m (?:-- )?|^|bash )(?P<name>(?:tools|mining|training|benchmarks)\.[\w.]+"
    r"|scripts/\w+\.sh|hardpairs(?: (?:data|models|photos|inspect|export(?= model)"
    r"|compare(?= recipes| open-test)))? [\w-]+)(?P<rest>.*)"
)
ACTIONS = {"photos": ("index", "query", "serve")}
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


def command_of(name: str) -> str:
    """Return the ``hardpairs`` sub-command behind a documented name."""
    if name.startswith("hardpairs "):
        words = name.split()[1:]
        return " ".join(words) if " ".join(words) in COMMANDS else words[0]
    module = "training.main" if name in TRAINER else name
    folder = ROOT / "src" if module.startswith("training.") else ROOT
    text = (folder / (module.replace(".", "/") + ".py")).read_text()
    stem = re.search(r"run_module\(\"hardpairs\.cli\.(\w+)\"\)", text)[1]
    return next(command for command, entry in COMMANDS.items() if entry.module == stem)


@cache
def known_flags(name: str) -> frozenset[str]:
    """Return the flags in a command's help and those of other systems that it translates."""
    if name.startswith("benchmarks.") or (name.endswith(".sh") and name not in TRAINER):
        path = name if name.endswith(".sh") else name.replace(".", "/") + ".py"
        return frozenset(re.findall(r"--[\w-]+", (ROOT / path).read_text()))
    command = command_of(name)
    starts = [[command], *([command, action] for action in ACTIONS.get(command, ()))]
    texts = [in_process(console.run, *" ".join(words).split(), "--help") for words in starts]
    assert texts[0].returncode == 0, texts[0].stderr
    own = re.findall(r"(?<![\w-])--?[\w-]+", "".join(done.stdout for done in texts))
    return frozenset([*own, *spellings(command)])


@pytest.mark.parametrize("name", sorted({name for _, name, _ in documented()}))
def test_documented_flags_exist(name):
    for place, other, rest in documented():
        if other == name:
            unquoted = re.sub(r'"[^"]*"', "", rest.split(" -- ")[0])  # flags of a recipe
            given = set(re.findall(r"(?<=\s)--[a-z][\w-]*", unquoted))
            known = {flag.replace("_", "-") for flag in known_flags(name)}
            missing = {flag for flag in given if flag.replace("_", "-") not in known}
            assert not missing, f"{place}: {name} has no {missing}"
