"""Flags from options: one for each name, refused when nothing reads it, and named in messages."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import pytest

from hardpairs.core.components import Options, option
from hardpairs.core.errors import UserError, usage
from hardpairs.core.flags import (
    OptionGroup,
    add_flags,
    build_options,
    destination,
    effective_values,
    flags_in_messages,
    given_flags,
    options_of,
    refuse_idle,
    refuse_unread,
)


@dataclass(frozen=True)
class Circle(Options):
    radius: float = option(1.0, "how large", flag="--size", above=0)
    filled: bool = option(False, "paint the inside")
    names: tuple[str, ...] = option((), "what it is called")
    color: str = option("red", "of the inside", needs={"filled": ()}, choices=("red", "blue"))


@dataclass(frozen=True)
class Square(Options):
    side: float = option(2.0, "how large", flag="--size", above=0)
    turned: int | None = option(None, "100 % are one turn", maximum=90)


GROUPS = (
    OptionGroup("--shape circle", options_of(Circle), "--shape", ("circle",)),
    OptionGroup("--shape square", options_of(Square), "--shape", ("square",)),
)


def parse(*argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", default="circle")
    add_flags(parser, GROUPS)
    return parser, parser.parse_args(argv)


def test_a_flag_that_the_command_has_is_refused():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size")
    with pytest.raises(UserError, match="--size is a flag of this command already") as error:
        add_flags(parser, GROUPS)
    assert error.value.code == 2 and "--shape circle" in error.value.text()


def test_an_option_that_several_read_is_one_flag_with_each_default():
    parser, args = parse()
    text = " ".join(parser.format_help().split())
    assert text.count("--size X how large (default: circle: 1.0; square: 2.0)") == 1
    assert "100 % are one turn" in text and "--shape circle, square:" in text
    assert args.size is None and args.filled is None  # not given


def test_each_reader_has_its_own_default():
    _, args = parse()
    assert build_options(Circle, options_of(Circle), vars(args)).radius == 1
    assert build_options(Square, options_of(Square), vars(args)).side == 2
    _, args = parse("--size", "3", "--filled", "--names", "a", "b")
    circle = build_options(Circle, options_of(Circle), vars(args))
    assert circle == Circle(3, True, ("a", "b"))
    assert dict(effective_values(circle, options_of(Circle)))["size"] == 3


def test_a_flag_that_nothing_reads_is_refused():
    _, args = parse("--turned", "3", "--no-filled")
    given = given_flags(vars(args), GROUPS)
    assert given == {"turned": "--turned", "filled": "--filled"}
    with pytest.raises(UserError, match="--turned is given, but nothing uses it") as caught:
        refuse_unread(given, GROUPS, {"--shape": "circle"})
    assert caught.value.fix == "--shape square"


def test_a_flag_without_effect_is_refused():
    _, args = parse("--color", "blue")
    given = given_flags(vars(args), GROUPS)
    circle = build_options(Circle, options_of(Circle), vars(args))
    with pytest.raises(UserError, match="--color has no effect without --filled"):
        refuse_idle(given, circle, options_of(Circle))
    refuse_idle(given, Circle(filled=True, color="blue"), options_of(Circle))


def test_messages_name_flags():
    _, args = parse("--size", "-1")
    with pytest.raises(UserError, match=r"--size must be above 0, not -1\.0") as caught:
        build_options(Circle, options_of(Circle), vars(args))
    assert caught.value.code == 2
    with (
        pytest.raises(UserError, match="--size is too large"),
        flags_in_messages(options_of(Square)),
    ):
        raise usage("`side` is too large")


def test_destinations_are_those_of_argparse():
    parser, _ = parse()
    known = {action.dest for action in parser._actions}
    assert {destination(o) for group in GROUPS for o in group.options} <= known
