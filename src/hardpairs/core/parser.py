"""A command-line parser whose refusals are one message: what is wrong, and the nearest flags."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NoReturn

from hardpairs.core.errors import Exit, tell, usage


class FlagFormatter(argparse.HelpFormatter):
    """Help with one word for a flag and its opposite: ``--[no-]NAME``."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, max_help_position=32, **options)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, argparse.BooleanOptionalAction):
            return f"--[no-]{action.option_strings[0].removeprefix('--')}"
        return super()._format_action_invocation(action)


UNRECOGNIZED = "unrecognized arguments: "
"""Start of argparse's message about words that no argument takes."""


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong, without the usage line."""

    _words: Sequence[str] = ()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the arguments that are known; remember all, for messages."""
        self._words = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End the command with one message.

        Where an argument is missing, a flag that does not exist is named: it may be that argument,
        misspelled.
        """
        missing = message.startswith("the following arguments are required")
        wrong = list(_unknown(self, self._words)) if missing else []
        _refuse(self, UNRECOGNIZED + " ".join(wrong) if wrong else message)


def shorten_refusals(parser: argparse.ArgumentParser) -> None:
    """Give a parser of another library the messages of ``Parser``."""
    parser.error = partial(_refuse, parser)  # type: ignore[method-assign]


def _refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    tell(Exit.USAGE, _text(parser, message))
    sys.exit(int(Exit.USAGE))


def _text(parser: argparse.ArgumentParser, message: str) -> str:
    """Return our message for argparse's."""
    words = message.removeprefix(UNRECOGNIZED).split() if message.startswith(UNRECOGNIZED) else []
    typed = [word.partition("=")[0] for word in words if word.startswith("--")]
    if not typed:
        what = message.removeprefix("argument ")
        return usage(what, fix="--help says what the command takes").text()
    known = list(dict.fromkeys(_flags(parser)))
    near = {name: None for word in typed for name in difflib.get_close_matches(word, known)}
    guess = f"did you mean {' or '.join(near)}? " if near else ""
    what = f"there is no flag {' and no flag '.join(typed)}"
    return usage(what, fix=f"{guess}--help lists all flags").text()


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the flags of a parser and of its sub-commands."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _flags(command)


def _unknown(parser: argparse.ArgumentParser, words: Sequence[str]) -> Iterator[str]:
    """Yield the flags among ``words`` that the parser does not know, not even shortened."""
    known = list(_flags(parser))
    for word in words:
        name = word.partition("=")[0]
        if word == "--":
            return
        if len(name) > 2 and name.startswith("--") and not any(k.startswith(name) for k in known):
            yield name
