"""The command ``hardpairs mine`` in this process."""

from __future__ import annotations

from hardpairs.cli.mine import main
from tests.helpers import Done, in_process


def mine(*arguments: object) -> Done:
    """Return what the command returns and prints."""
    return in_process(main, *arguments)
