"""Rules that rewrite a flag, and the command line that they leave."""

import pytest

from hardpairs.compat.spelling import (
    CommandLine,
    aliased,
    chosen,
    computed,
    passed_over,
    renamed,
    rewrite,
    same,
    switched,
    unneeded,
)
from hardpairs.core.errors import UserError

RULES = {
    "--old_name": renamed("--new"),
    "--kind": chosen("--preset", {"a": "x-a", "b": "x-b"}),
    "--twice": computed("--n 2N", lambda value: ["--n", str(2 * int(value))]),
    "--on": switched("--mode", "on"),
    "--gone": passed_over("use --new."),
    "--gone_switch": passed_over("use --new.", takes_value=False),
    "--always": unneeded("it is done anyway"),
    "--alias": aliased("--alias", {"one": "1"}),
    "--kept_name": same(),
}


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("--old_name 1", "--new 1"),
        ("--old-name=1", "--new=1"),
        ("--old_name 1 2 3", "--new 1 2 3"),
        ("--kind a", "--preset x-a"),
        ("--kind=b", "--preset x-b"),
        ("--twice 3 --on", "--n 6 --mode on"),
        ("--gone 7 a", "a"),
        ("--gone_switch a", "a"),
        ("--always a", "a"),
        ("--alias one --alias=two", "--alias 1 --alias two"),
        ("--kept_name 1 --other_one 2 a_b", "--kept-name 1 --other-one 2 a_b"),
        ("--on -- --on --kind", "--mode on -- --on --kind"),
    ],
)
def test_rules(typed, ours):
    assert rewrite(typed.split(), RULES)[0] == ours.split()


def test_notes_name_the_flag_as_typed():
    notes = rewrite(["--gone", "1", "--gone-switch", "--on"], RULES)[1]
    reason = "has no counterpart: use --new."
    assert notes == [f"--gone {reason}", f"--gone-switch {reason}"]


@pytest.mark.parametrize(
    ("typed", "says"),
    [("--kind c", "--kind must be a or b, not 'c'"), ("--twice", "--twice needs a value")],
)
def test_refused_values(typed, says):
    with pytest.raises(UserError, match=says) as error:
        rewrite(typed.split(), RULES)
    assert error.value.code == 2


def test_a_command_line_before_its_file_before_its_preset():
    line = CommandLine(["--a", "1", "--a=2", "--c"], {"b_b": 3, "a": 4})
    line.preset = ["--b-b", "5", "--d", "6"]
    assert [line.value(flag) for flag in ("--a", "--b-b", "--d", "--e")] == ["2", "3", "6", None]
    assert line.gives("--c") and line.gives("--b-b") and not line.gives("--d", "--e")
    assert line.take("--a") == "2" and line.words == ["--c"] and line.take("--a") is None
