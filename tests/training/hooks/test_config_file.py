"""--config: flags from a YAML file; the command line wins."""

import argparse
import re

import pytest

from hardpairs.cli.command_line import command_arguments
from hardpairs.core.errors import UserError
from hardpairs.training.hooks.flags import add_arguments
from tests.compat.parsing import training_args


def parse(tmp_path, text, *flags):
    (tmp_path / "config.yaml").write_text(text)
    return training_args(*flags, "--config", str(tmp_path / "config.yaml"))


def test_the_command_line_wins_wherever_it_stands(tmp_path):
    assert parse(tmp_path, "lr: 1\nbatch-size: 3\n", "--lr", "2").lr == 2
    assert command_arguments("train", ["--a", "--config", "x", "b", "--config=y"]) == [
        "--config",
        "x",
        "--config",
        "y",
        "--a",
        "b",
    ]


def test_switches_and_lists(tmp_path):
    args = parse(
        tmp_path,
        "use-hard: true\nfalse_negative_mask: false\nsanw-normalize: true\nskip_scheduler: false\nname: null\n",
    )
    assert (
        args.use_hard
        and args.false_negative_mask is False
        and args.sanw_normalize is True
        and not args.skip_scheduler
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("batch_sise: 3\n", r"batch_sise.*did you mean 'batch_size'"),
        ("loss: {nam: clip_ce}\n", r"loss.nam"),
        ("- 1\n", "mapping"),
        ("a: [\n", "not a YAML file"),
    ],
)
def test_wrong_files(tmp_path, text, says):
    with pytest.raises(UserError) as caught:
        parse(tmp_path, text)
    assert re.search(says, str(caught.value), re.DOTALL)


def test_no_such_file(tmp_path):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(UserError, match="cannot be read"):
        parser.parse_args(["--config", str(tmp_path / "none.yaml")])
