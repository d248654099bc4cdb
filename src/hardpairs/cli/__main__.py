"""Run one of our commands by its name."""

from __future__ import annotations

import importlib
import sys

from hardpairs.core.errors import run_command


def main() -> None:
    run_command(
        lambda: importlib.import_module(f"hardpairs.cli.{sys.argv[1].replace('-', '_')}").main(
            sys.argv[2:]
        )
    )
