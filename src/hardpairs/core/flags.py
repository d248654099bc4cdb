"""Command-line flags generated from the options of components and configurations.

A command declares who reads which options (``OptionGroup``, ``component_groups``), adds the flags
to its parser (``add_flags``), refuses flags that nobody reads (``refuse_unread``), and builds the
frozen dataclasses from the parsed values (``build_options``). A flag that is not given is ``None``
in the namespace, so that every reader's own default applies. Messages of the library name
parameters; ``flags_in_messages`` puts the flags' names in their place.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from hardpairs.core.components import OptionDeclaration, Options, Registry, choices_of
from hardpairs.core.errors import flags, usage

Config = TypeVar("Config", bound=Options)


@dataclass(frozen=True)
class OptionGroup:
    """Options that the same readers have.

    Attributes:
        title: Heading in ``--help``; also says who reads the options.
        options: The options.
        chooser: Flag that chooses the readers, such as ``--loss-fn``; empty: always read.
        values: Values of ``chooser`` that read the options.
    """

    title: str
    options: tuple[OptionDeclaration, ...]
    chooser: str = ""
    values: tuple[str, ...] = ()

    def is_read(self, chosen: Mapping[str, str | None]) -> bool:
        """Return whether the options are read, by value of each choosing flag."""
        return not self.chooser or chosen.get(self.chooser) in self.values


def component_groups(registry: Registry, chooser: str) -> list[OptionGroup]:
    """Return one group for each component of a registry that has options.

    Args:
        registry: The components.
        chooser: The flag that chooses one of them by name.
    """
    return [
        OptionGroup(f"{chooser} {name}", declaration.options, chooser, (name,))
        for name, declaration in registry.items()
        if declaration.options
    ]


def options_of(config: type[Options]) -> tuple[OptionDeclaration, ...]:
    """Return the options of a configuration class that is imported already."""
    return tuple(
        OptionDeclaration(field.name, str(field.type), field.default, dict(field.metadata))
        for field in dataclasses.fields(config)
    )


def destination(option: OptionDeclaration) -> str:
    """Return the name of an option's value in the parsed namespace."""
    return option.flag.removeprefix("--").replace("-", "_")


def add_flags(parser: argparse.ArgumentParser, groups: Sequence[OptionGroup]) -> None:
    """Add one flag for each option; an option that several groups have is one flag.

    Args:
        parser: Where the flags go, under one heading for each set of readers.
        groups: Who reads which options.

    Raises:
        UserError: exit 2 for an option whose flag the parser has already.
    """
    readers: dict[str, list[tuple[OptionGroup, OptionDeclaration]]] = {}
    for group in groups:
        for option in group.options:
            readers.setdefault(option.flag, []).append((group, option))
    sections: dict[str, argparse._ArgumentGroup] = {}
    for flag, read in readers.items():
        title = _title([group for group, _ in read])
        if flag in parser._option_string_actions:
            raise usage(
                f"{flag} is a flag of this command already",
                where=f"an option of {title}",
                fix="rename the option, or give it another flag: option(..., flag=NAME)",
            )
        if title not in sections:
            sections[title] = parser.add_argument_group(title)
        sections[title].add_argument(flag, **_argument(read))


def _title(groups: Sequence[OptionGroup]) -> str:
    """Return the heading of options that all of ``groups`` read."""
    if len(groups) == 1:
        return groups[0].title
    names: dict[str, list[str]] = {}
    for group in groups:
        names.setdefault(group.chooser, []).extend(group.values or (group.title,))
    return "; ".join(f"{chooser} {', '.join(values)}".strip() for chooser, values in names.items())


def _argument(read: Sequence[tuple[OptionGroup, OptionDeclaration]]) -> dict[str, Any]:
    """Return the keyword arguments of ``add_argument`` for one flag."""
    first = read[0][1]
    kind, _, _ = first.kind.partition(" |")
    arguments: dict[str, Any] = {"default": None, "help": _help(read)}
    if kind == "bool":
        return {**arguments, "action": argparse.BooleanOptionalAction}
    if kind.startswith("tuple"):
        arguments["nargs"] = "*"
    if choices := choices_of(first.facts):
        arguments["choices"] = choices
        if len(str(choices)) > 60:
            arguments["metavar"] = "NAME"
    else:
        arguments["type"] = {"int": int, "float": float}.get(kind, str)
        arguments["metavar"] = first.facts["metavar"] or {"int": "N", "float": "X"}.get(
            kind, "TEXT"
        )
    return arguments


def _help(read: Sequence[tuple[OptionGroup, OptionDeclaration]]) -> str:
    """Return a flag's help: each reader's text, and its default."""
    defaults = _texts([(group, _default_text(option)) for group, option in read])
    texts = _texts([(group, option.facts["help"]) for group, option in read])
    if len(texts) == 1:
        default = "; ".join(f"{names}{text}" for text, names in defaults.items() if text)
        text = next(iter(texts)) + (f" (default: {default})" if default else "")
    else:
        both = [(g, f"{o.facts['help']} (default: {_default_text(o)})") for g, o in read]
        text = "; ".join(f"{names}{text}" for text, names in _texts(both).items())
    return text.replace("%", "%%")


def _texts(read: Sequence[tuple[OptionGroup, str]]) -> dict[str, str]:
    """Return {text: readers that have it}; no readers are named for the most common text."""
    names: dict[str, list[str]] = {}
    for group, text in read:
        names.setdefault(text, []).extend(group.values or (group.title,))
    common = max(names, key=lambda text: len(names[text]))
    plain = common if len(names) == 1 or len(names[common]) > 2 else None
    order = sorted(names, key=lambda text: text != plain)
    return {text: "" if text == plain else f"{', '.join(names[text])}: " for text in order}


def _default_text(option: OptionDeclaration) -> str:
    default = "on" if option.default is True else option.default
    return "" if default is None or default is False or default == () else str(default)


def given_flags(values: Mapping[str, Any], groups: Iterable[OptionGroup]) -> dict[str, str]:
    """Return the flags that have a value, by destination: {destination: flag}."""
    options = [option for group in groups for option in group.options]
    return {
        destination(option): option.flag
        for option in options
        if values.get(destination(option)) is not None
    }


def refuse_unread(
    given: Mapping[str, str], groups: Sequence[OptionGroup], chosen: Mapping[str, str | None]
) -> None:
    """Refuse flags that nothing reads.

    Args:
        given: The flags that were given, as ``given_flags`` returns them.
        groups: Who reads which options.
        chosen: Value of each choosing flag.

    Raises:
        UserError: Exit 2; names the flag and its readers.
    """
    for flag in given.values():
        readers = [g for g in groups if any(option.flag == flag for option in g.options)]
        if readers and not any(group.is_read(chosen) for group in readers):
            by = [f"{group.chooser} {value}" for group in readers for value in group.values]
            raise usage(f"{flag} is given, but nothing uses it", fix=" or ".join(by))


def refuse_idle(
    given: Mapping[str, str], config: Options, options: Sequence[OptionDeclaration]
) -> None:
    """Refuse flags that have no effect beside the values of other options (``needs``).

    Args:
        given: The flags that were given, as ``given_flags`` returns them.
        config: The values.
        options: Its options.

    Raises:
        UserError: Exit 2; names the flag and what it needs.
    """
    flags = {option.field: option.flag for option in options}
    for option in options:
        needs = option.facts["needs"] or {}
        met = (
            getattr(config, field) in values if values else bool(getattr(config, field))
            for field, values in needs.items()
        )
        if destination(option) in given and needs and not any(met):
            for field, values in needs.items():
                if None in values:
                    value = getattr(config, field)
                    raise usage(f"{option.flag} has no effect with {flags[field]} {value}")
            words = [" ".join([flags[field], *values[:1]]) for field, values in needs.items()]
            raise usage(f"{option.flag} has no effect without {' or '.join(words)}")


def build_options(
    config: type[Config], options: Sequence[OptionDeclaration], values: Mapping[str, Any]
) -> Config:
    """Build a configuration from parsed flags; one that is ``None`` has the class's default.

    Args:
        config: The class.
        options: Its options.
        values: Values by destination.

    Raises:
        UserError: Exit 2 for values that the class refuses.
    """
    given = {option.field: values.get(destination(option)) for option in options}
    given = {name: value for name, value in given.items() if value is not None}
    given = {n: tuple(value) if isinstance(value, list) else value for n, value in given.items()}
    with flags_in_messages(options):
        return config(**given)


def effective_values(
    config: Options, options: Sequence[OptionDeclaration]
) -> Iterator[tuple[str, Any]]:
    """Yield (destination, value) of the options of a configuration."""
    return ((destination(option), getattr(config, option.field)) for option in options)


@contextmanager
def flags_in_messages(options: Collection[OptionDeclaration]) -> Iterator[None]:
    """Put flags in the place of parameters in the messages of errors that pass through.

    A ``ValueError`` of a configuration becomes a ``UserError`` of exit 2.

    Args:
        options: Options whose fields are the parameters.
    """
    with flags(**{option.field: option.flag for option in options}):
        try:
            yield
        except ValueError as error:
            raise usage(str(error)) from None
