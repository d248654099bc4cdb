"""``--preset NAME``: the flags it stands for, put before all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hardpairs.compat.spelling import CommandLine, Words
from hardpairs.core.components import OptionDeclaration
from hardpairs.core.errors import usage

INSTEAD = {
    "--warmup": ("--warmup-epochs",),
    "--warmup-epochs": ("--warmup",),
    "--batching": ("--use-hard",),
}
"""Flag of a preset -> flags beside it that say the same in another way, and win."""


def expand_preset(line: CommandLine, presets: Mapping[str, Sequence[str]]) -> None:
    """Put the words of the named preset into ``line.preset``.

    A flag of the preset is left out where the line gives it, or gives one that stands for it, and
    where the loss, the batch maker or the head of the line does not read it.

    Raises:
        UserError: exit 2 for an unknown name.
    """
    name = line.value("--preset")
    if name is None:
        return
    if name not in presets:
        raise usage(f"there is no preset {name!r}", fix=f"one of: {', '.join(presets)}")
    line.preset = list(presets[name])
    line.preset = [
        word for words in _flags(presets[name]) if _has_effect(line, words[0]) for word in words
    ]


def _flags(words: Sequence[str]) -> Iterator[Words]:
    """Yield each flag with its values."""
    group: Words = []
    for word in words:
        if word.startswith("--") and group:
            yield group
            group = []
        group.append(word)
    yield group


def _has_effect(line: CommandLine, flag: str) -> bool:
    """Tell whether a flag of the preset counts beside what the line gives."""
    from hardpairs.training.config import option_groups  # reads the sources of all components

    if line.gives(flag, flag.replace("--", "--no-", 1), *INSTEAD.get(flag, ())):
        return False
    chosen = {
        "--loss-fn": (line.value("--loss-fn") or "").replace("-", "_"),
        "--batching": "hard-pairs" if line.gives("--use-hard") else line.value("--batching"),
    }
    readers = [
        (group, option)
        for group in option_groups()
        for option in group.options
        if option.flag == flag
    ]
    return not readers or any(
        group.is_read(chosen) and _needs_are_met(line, option) for group, option in readers
    )


def _needs_are_met(line: CommandLine, option: OptionDeclaration) -> bool:
    """Tell whether one of the options that this one depends on has a value that it needs.

    No values stand for any value but zero.
    """
    needs = option.facts["needs"] or {}
    given = {field: line.value("--" + field.replace("_", "-")) for field in needs}
    return not needs or any(
        value in needs[field] if needs[field] else value not in (None, "0")
        for field, value in given.items()
    )
