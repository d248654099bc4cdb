"""``--config FILE``: flags from a YAML file, by their names without hyphens in front."""

from __future__ import annotations

import argparse
import difflib
import json
from pathlib import Path
from typing import Any

from hardpairs.core.errors import bad_input, usage
from hardpairs.core.parse import parse_yaml


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config FILE``. What stands after it wins; the command puts it first.

    A value that starts with a brace is JSON: the content of a file whose path it has as ``config``.
    """
    parser.add_argument(
        "--config",
        action=_Config,
        metavar="FILE",
        help="flags from a YAML file; the command line wins",
    )


class _Config(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        value: Any,
        option_string: str | None = None,
    ) -> None:
        values = json.loads(value) if value.startswith("{") else read_config(value)
        path = values.pop(self.dest, value)
        setattr(namespace, self.dest, path)
        parser.parse_args(config_flags(parser, values, path), namespace)


def read_config(path: str) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        UserError: exit 2 for a missing file, exit 3 for what is not a mapping.
    """
    try:
        values = parse_yaml(Path(path).read_text("utf-8"))
    except OSError as error:
        raise usage(f"--config cannot be read: {error.strerror}", where=path) from None
    except ValueError as error:
        raise bad_input(f"not a YAML file: {error}", where=path) from None
    if not isinstance(values, dict):
        raise bad_input("a config is a mapping of flags to values", where=path)
    return values


def config_flags(parser: argparse.ArgumentParser, values: dict[str, Any], where: str) -> list[str]:
    """Return the command line that a mapping of flags to values stands for.

    Args:
        parser: The parser whose flags the keys name.
        values: Flag names without hyphens in front -> values.
        where: The file that they come from, for errors.

    Raises:
        UserError: exit 2 for an unknown key.
    """
    actions = {
        option.lstrip("-").replace("-", "_"): action
        for action in parser._actions
        for option in action.option_strings
    }
    return [word for key, value in values.items() for word in _words(actions, key, value, where)]


def _words(actions: dict[str, argparse.Action], key: str, value: Any, where: str) -> list[str]:
    name = str(key).replace("-", "_")
    if name not in actions:
        near = difflib.get_close_matches(name, actions, 1)
        fix = f"did you mean {near[0]!r}?" if near else "hardpairs train --help"
        raise usage(f"no flag is called {key!r}", where=where, fix=fix)
    return _flag(actions[name], value)


def _flag(action: argparse.Action, value: Any) -> list[str]:
    positive = [option for option in action.option_strings if not option.startswith("--no-")]
    if value is None:
        return []
    if isinstance(action, argparse.BooleanOptionalAction):
        return [
            positive[0]
            if value
            else next(option for option in action.option_strings if option.startswith("--no-"))
        ]
    if action.nargs == 0:
        return [positive[0]] if value else []
    if isinstance(value, list):
        return [positive[0], *map(str, value)]
    return [f"{positive[0]}={value}"]
