"""Arguments of a command: translated from other systems' spellings, then parsed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from hardpairs import compat


def command_arguments(command: str, argv: Sequence[str] | None = None) -> list[str]:
    """Return a command's arguments in our spelling; print what was passed over.

    ``--help-compat NAME`` prints another system's flags and ends the process.

    Args:
        command: The command's name, such as ``train``.
        argv: The arguments; default: those of the process.

    Raises:
        UserError: exit 2 for a value that another system's flag does not take.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if "--help-compat" in argv:
        names = argv[argv.index("--help-compat") + 1 :][:1] or compat.systems_of(command)
        print("\n\n".join(compat.help_text(command, name) for name in names))
        raise SystemExit(0)
    translated, notes = compat.translate(command, argv)
    if os.environ.get("RANK", "0") == "0":
        for note in notes:
            print(note, file=sys.stderr)
    return translated


def parse_arguments(
    parser: argparse.ArgumentParser, command: str, argv: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse a command's arguments after translation; see ``command_arguments``.

    Args:
        parser: The command's parser. Its help gets a line that names ``--help-compat``.
        command: The command's name.
        argv: The arguments; default: those of the process.

    Returns:
        The parsed arguments.
    """
    if systems := compat.systems_of(command):
        line = f"--help-compat {{{','.join(systems)}}}: another system's flags that work here, too"
        parser.epilog = f"{parser.epilog} {line}" if parser.epilog else line
    return parser.parse_args(command_arguments(command, argv))
