"""HELIP's name for the trainer's command line: the patched trainer's parser."""

import argparse
from collections.abc import Sequence

from hardpairs.cli.command_line import command_arguments
from hardpairs.training.upstream import patched


def parse_args(args: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments; other systems' spellings are translated first."""
    parsed: argparse.Namespace = patched("params").parse_args(command_arguments("train", args))
    return parsed
