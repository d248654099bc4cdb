"""Command lines and files of the five systems that meet here, translated to ours.

``translate`` is applied to every command's arguments before they are parsed. Each system is one
module with a ``System``: a table of its flags, its presets, and functions for what needs more than
a table. Start reading at ``spelling.py``, then at ``clippings.py``, which uses all of it. Nothing
here imports PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hardpairs.compat.clippings import CLIPPINGS
from hardpairs.compat.clipse import CLIPSE, translate_config
from hardpairs.compat.data_names import data_names
from hardpairs.compat.helip import HELIP
from hardpairs.compat.loss_comparison import LOSS_COMPARISON
from hardpairs.compat.miniclip import MINICLIP
from hardpairs.compat.presets import expand_preset
from hardpairs.compat.spelling import CommandLine, Spelling, System, renamed, rewrite
from hardpairs.core.errors import usage
from hardpairs.core.parse import parse_yaml

SYSTEMS = {
    "helip": HELIP,
    "clipse": CLIPSE,
    "clippings": CLIPPINGS,
    "miniclip": MINICLIP,
    "loss-comparison": LOSS_COMPARISON,
}
"""Name for ``--help-compat`` -> system."""
FORMER = {"--csv-label-key": renamed("--csv-group-key"), "--checkpoints": renamed("--pretrained")}
"""Former names of flags of ours, for every command."""
PRESETS = {name: words for system in SYSTEMS.values() for name, words in system.presets.items()}
"""All presets by name."""


def translate(command: str, argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Translate a command line to our flags.

    Flags of ours may be written with underscores. The words of ``--preset`` and ``--config`` come
    first in the result, so that every other flag overrides them.

    Args:
        command: Name of our command, such as ``train``.
        argv: Its arguments as typed.

    Returns:
        The arguments in our spelling, and notes on what was passed over.

    Raises:
        UserError: exit 2 for a value or preset that does not exist.
    """
    if command == "photos":
        return _translate_photos(argv)
    words, notes = rewrite(argv, spellings(command))
    if command != "train":
        return _with_preset(command, words), notes
    words, configs = _take_configs(words)
    file: dict[str, Any] = {}
    config_words = []
    for path in configs:
        text, values, more = _translated_config(path, words)
        config_words += ["--config", text]
        file |= values
        notes += more
    line = CommandLine(words, file)
    expand_preset(line, PRESETS)
    for system in SYSTEMS.values():
        if command in system.complete:
            system.complete[command](line)
    return [*line.preset, *config_words, *line.words], notes + line.notes


def _with_preset(command: str, words: list[str]) -> list[str]:
    """Put the words of ``--preset NAME`` in front, where other flags override them."""
    presets = command_presets(command)
    line = CommandLine(words)
    name = line.take("--preset") if presets else None
    if name is None:
        return words
    if name not in presets:
        raise usage(f"there is no preset {name!r}", fix=f"one of: {', '.join(presets)}")
    return [*presets[name], *line.words]


def command_presets(command: str) -> dict[str, tuple[str, ...]]:
    """Return the presets of a command other than ``train``, by name."""
    systems = (system.command_presets.get(command, {}) for system in SYSTEMS.values())
    return {name: words for presets in systems for name, words in presets.items()}


def _translate_photos(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Translate MiniCLIP's demonstration, which has flags alone, to ``photos demo``."""
    if not argv or argv[0] in ("-h", "--help") or not argv[0].startswith("--"):
        return rewrite(argv, FORMER)
    words, notes = rewrite(argv, spellings("photos"))
    line = CommandLine(words)
    MINICLIP.complete["photos"](line)
    return ["demo", *line.words], notes


def spellings(command: str) -> Mapping[str, Spelling]:
    """Return the rules of all systems for a command, and of second names of ours, by flag."""
    rules = FORMER | data_names(command)
    for system in SYSTEMS.values():
        rules |= system.spellings.get(command, {})
    return rules


def _take_configs(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the line without ``--config FILE``, and the files."""
    rest, files = [], []
    remaining = iter(words)
    for word in remaining:
        if word == "--config":
            files += [value for value in [next(remaining, None)] if value is not None]
        elif word.startswith("--config="):
            files.append(word.partition("=")[2])
        else:
            rest.append(word)
    return rest, files


def _translated_config(path: str, words: list[str]) -> tuple[str, dict[str, Any], list[str]]:
    """Return the value for ``--config``, the file's mapping in our keys, and notes.

    A file of ours stays a path. CLIPSE's becomes JSON of our keys, with its path as ``config``.
    A file that cannot be read stays a path too: the parser's own error says why.
    """
    try:
        with open(path, encoding="utf-8") as file:
            values = parse_yaml(file.read())
    except (OSError, ValueError):
        return path, {}, []
    if not isinstance(values, dict):
        return path, {}, []
    ours, notes = translate_config(values, CommandLine(words))
    text = path if ours == values else json.dumps({"config": path, **ours}, default=str)
    return text, ours, [f"{path}: {note}" for note in notes]


def help_text(command: str, name: str) -> str:
    """Return what ``--help-compat NAME`` prints: a system's flags for a command, and ours.

    Raises:
        UserError: exit 2 for an unknown system.
    """
    if name not in SYSTEMS:
        raise usage(f"--help-compat knows no system {name!r}", fix=f"one of: {', '.join(SYSTEMS)}")
    system = SYSTEMS[name]
    rows = {flag: rule.becomes for flag, rule in system.spellings.get(command, {}).items()}
    presets = system.presets if command == "train" else system.command_presets.get(command, {})
    rows |= {f"--preset {preset}": " ".join(words) for preset, words in presets.items()}
    lines = [f"{system.title}: its flags that `{command}` takes, and what they become"]
    lines += [f"  {flag:<32} {becomes}" for flag, becomes in rows.items()] or ["  none"]
    return "\n".join([*lines, *([system.note] if system.note else [])])


def systems_of(command: str) -> list[str]:
    """Return the names of the systems that have flags or presets for a command."""
    return [
        name
        for name, system in SYSTEMS.items()
        if command in system.spellings or (command == "train" and system.presets)
    ]


__all__ = ["PRESETS", "SYSTEMS", "System", "help_text", "systems_of", "translate"]
