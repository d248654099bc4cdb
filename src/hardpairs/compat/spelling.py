"""Rules that say how a flag of another system is written here, and the line they rewrite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hardpairs.core.errors import usage

Words = list[str]


@dataclass(frozen=True)
class Spelling:
    """A flag of another system and its form here.

    Attributes:
        becomes: Our flags, as the help shows them.
        flag: Our flag, where its value stays as it is.
        words: Builds our words from the value; the value is empty for a flag that takes none.
        takes_value: Whether ``words`` needs the flag's value.
        note: Why the flag is passed over; empty for a flag that is translated.
    """

    becomes: str
    flag: str = ""
    words: Callable[[str], Words] | None = None
    takes_value: bool = False
    note: str = ""


def renamed(flag: str) -> Spelling:
    """Build the rule of a flag that has another name here and the same values."""
    return Spelling(flag, flag=flag)


def switched(*words: str) -> Spelling:
    """Build the rule of a flag without a value that stands for ``words``."""
    return Spelling(" ".join(words), words=lambda value: list(words))


def computed(becomes: str, words: Callable[[str], Words]) -> Spelling:
    """Build the rule of a flag whose value decides our words."""
    return Spelling(becomes, words=words, takes_value=True)


def chosen(flag: str, values: Mapping[str, str]) -> Spelling:
    """Build the rule of a flag whose values have other names here: their name -> ours."""

    def words(value: str) -> Words:
        if value not in values:
            raise ValueError(f"must be {' or '.join(values)}, not {value!r}")
        return [flag, values[value]]

    pairs = ", ".join(f"{theirs}: {ours}" for theirs, ours in values.items())
    return computed(f"{flag} ({pairs})", words)


def aliased(flag: str, values: Mapping[str, str]) -> Spelling:
    """Build the rule of a flag of ours whose values have second names: their name -> ours."""
    pairs = ", ".join(f"{theirs}: {ours}" for theirs, ours in values.items())
    return computed(f"{flag} ({pairs})", lambda value: [flag, values.get(value, value)])


def passed_over(reason: str, *, takes_value: bool = True) -> Spelling:
    """Build the rule of a flag without a counterpart; ``reason`` says what to use instead."""
    return Spelling("passed over", words=lambda value: [], takes_value=takes_value, note=reason)


def unneeded(reason: str) -> Spelling:
    """Build the rule of a flag without a value that asks for what is done in any case."""
    return Spelling(f"not needed: {reason}", words=lambda value: [])


def same() -> Spelling:
    """Build the rule of a flag that is spelled here as there; the help lists it."""
    return Spelling("the same")


@dataclass(frozen=True)
class System:
    """The spellings of another system, by command of ours.

    Attributes:
        title: Its name, with a reference.
        spellings: Command -> its flag -> rule.
        presets: Name -> the flags that ``--preset NAME`` stands for in training.
        command_presets: Another command -> the same of its presets.
        complete: Command -> a function that adds what follows from the whole command line.
        note: A sentence for the help.
    """

    title: str
    spellings: Mapping[str, Mapping[str, Spelling]]
    presets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    command_presets: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    complete: Mapping[str, Callable[[CommandLine], None]] = field(default_factory=dict)
    note: str = ""


def hyphenated(word: str) -> str:
    """Return a flag with hyphens for underscores; any other word as it is.

    >>> hyphenated("--batch_size=3"), hyphenated("my_file"), hyphenated("--name=a_b")
    ('--batch-size=3', 'my_file', '--name=a_b')
    """
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else word


def rewrite(argv: Sequence[str], spellings: Mapping[str, Spelling]) -> tuple[Words, list[str]]:
    """Translate the flags of a command line one by one, in their order.

    Args:
        argv: The words as typed.
        spellings: Rules by flag, as the other system spells it. A hyphen counts as an underscore.

    Returns:
        Our words, and notes on what was passed over. Words after ``--`` stay as they are.

    Raises:
        UserError: exit 2 for a value that a rule refuses, or that is missing.
    """
    rules = {hyphenated(flag): rule for flag, rule in spellings.items()}
    ours: Words = []
    notes: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            return [*ours, word, *words], notes
        typed, equals, value = word.partition("=")
        rule = rules.get(hyphenated(typed)) if typed.startswith("--") else None
        if rule is None or rule.words is None:
            name = rule.flag if rule is not None and rule.flag else hyphenated(typed)
            ours.append(name + equals + value if typed.startswith("--") else word)
            continue
        if rule.takes_value and not equals:
            value = next(words, "")
            if not value:
                raise usage(f"{typed} needs a value")
        try:
            ours += rule.words(value)
        except ValueError as error:
            raise usage(f"{typed} {error}") from None
        if rule.note:
            notes.append(f"{typed} has no counterpart: {rule.note}")
    return ours, notes


class CommandLine:
    """A command line before its parser, with what its file of flags and its preset add.

    Attributes:
        words: What was typed, in our spelling.
        file: The content of ``--config`` by flag name without hyphens in front.
        preset: The words of the chosen preset.
        notes: Sentences for the user.
    """

    def __init__(self, words: Sequence[str], file: Mapping[str, Any] | None = None) -> None:
        self.words = list(words)
        self.file = {hyphenated(f"--{name}"): value for name, value in (file or {}).items()}
        self.preset: Words = []
        self.notes: list[str] = []

    def value(self, flag: str) -> str | None:
        """Return the value of a flag: the last on the line, else the file's, else the preset's."""
        return _value(self.words, flag) or self._file_value(flag) or _value(self.preset, flag)

    def gives(self, *flags: str) -> bool:
        """Return whether the line or its file has one of the flags."""
        names = {word.partition("=")[0] for word in self.words} | self.file.keys()
        return not names.isdisjoint(flags)

    def take(self, flag: str) -> str | None:
        """Remove a flag with its value wherever it stands on the line; return the last value."""
        value = _value(self.words, flag)
        kept: Words = []
        words = iter(self.words)
        for word in words:
            if word == flag:
                next(words, None)
            elif not word.startswith(f"{flag}="):
                kept.append(word)
        self.words = kept
        return value

    def _file_value(self, flag: str) -> str | None:
        value = self.file.get(flag)
        return None if value is None else str(value)


def _value(words: Sequence[str], flag: str) -> str | None:
    value = None
    for position, word in enumerate(words):
        if word == flag:
            value = next(iter(words[position + 1 : position + 2]), None)
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value
