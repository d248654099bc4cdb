"""Find the sub-command on the command line of ``hardpairs``, import its module, run it."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import hardpairs
from hardpairs.cli import COMMANDS
from hardpairs.core.errors import usage
from hardpairs.core.parser import Parser
from hardpairs.core.processes import end_with_parent


def main() -> int | None:
    """Run the command that stands on the command line and return its exit code."""
    end_with_parent()
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    return run(sys.argv[1:])


def run(argv: Sequence[str]) -> int | None:
    """Run a sub-command.

    Args:
        argv: The words after ``hardpairs``.

    Returns:
        The command's exit code; None means 0.

    Raises:
        UserError: Exit 2 for an unknown command, with the nearest known ones.
    """
    name = _command_of(argv)
    if name is None:
        _parser().parse_args(argv[:1] or ["--help"])
        group = [known for known in COMMANDS if known.startswith(f"{argv[0]} ")]
        near = group or difflib.get_close_matches(argv[0], COMMANDS) or list(COMMANDS)
        raise usage(f"there is no command {' '.join(argv[:2])!r}", fix=f"one of: {', '.join(near)}")
    sys.argv[0] = f"hardpairs {name}"  # the program's name in the help of OpenCLIP's trainer
    return _load(name)(list(argv[len(name.split()) :]))


def _command_of(argv: Sequence[str]) -> str | None:
    """Return the command that the first one or two words name."""
    names = (" ".join(argv[:length]) for length in (2, 1))
    return next((name for name in names if name in COMMANDS), None)


def _load(name: str) -> Callable[[list[str]], int | None]:
    module = importlib.import_module(f"hardpairs.cli.{COMMANDS[name].module}")
    command: Callable[[list[str]], int | None] = module.main
    return command


def _parser() -> argparse.ArgumentParser:
    """Return the parser of what stands before a sub-command, with the table of sub-commands."""
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    parser = Parser(
        prog="hardpairs",
        usage="hardpairs COMMAND ...",
        description=hardpairs.__doc__,
        epilog="\n".join(["commands (hardpairs COMMAND --help shows the flags of one):", *rows]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hardpairs {hardpairs.__version__}")
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    return parser


def _complete() -> NoReturn:
    """Answer the shell that asks how to complete a command line, and end the process.

    Names of commands are completed here. For the flags of a command argcomplete needs its parser:
    that is the one that the command calls ``parse_args`` or ``parse_known_args`` on first.
    """
    import argcomplete

    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    words = line.split()[1:]
    before = words if line[-1:].isspace() else words[:-1]
    name = _command_of(before)
    skipped = len(name.split()) if name else len(before)
    os.environ["_ARGCOMPLETE"] = str(1 + skipped)  # the word that counts as the program's name
    if name is None:
        parser = _parser()
        parser._actions[-1].choices = _next_words(before)
        argcomplete.autocomplete(parser, always_complete_options=False)
        sys.exit(0)
    own = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args

    def complete(parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args = own  # type: ignore[method-assign]
        argcomplete.autocomplete(parser)
        sys.exit(0)

    argparse.ArgumentParser.parse_args = complete  # type: ignore[method-assign,assignment]
    argparse.ArgumentParser.parse_known_args = complete  # type: ignore[method-assign,assignment]
    _load(name)([])
    sys.exit(0)


def _next_words(before: Sequence[str]) -> list[str]:
    """Return the words that may follow on the complete words before the cursor."""
    starts = [name.split() for name in COMMANDS if name.split()[: len(before)] == list(before)]
    return sorted({words[len(before)] for words in starts if len(words) > len(before)})
