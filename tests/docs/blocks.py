"""The code blocks of a page, as commands that run on small data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"(?m)^```(bash|python)\n(.*?)^```$", re.S)
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\n+\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: ``bash`` or ``python``.
        text: What stands between the fences.
        line: Line number of the opening fence.
        reason: Why it is not run, from the comment above it; empty if it is run.
    """

    language: str
    text: str
    line: int
    reason: str


def blocks_of(page: Path) -> list[Block]:
    """Return the bash and Python blocks of a Markdown page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        reason = NOT_RUN.search(before)
        line = before.count("\n") + 1
        found.append(Block(match[1], match[2], line, reason[1] if reason else ""))
    return found


def commands_of(block: Block) -> list[str]:
    """Return the commands of a bash block, without comments and continuation lines."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    lines = (re.sub(r"(^|\s+)#.*", "", line).strip() for line in joined.split("\n"))
    return [line for line in lines if line]
