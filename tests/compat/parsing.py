"""Command lines of other systems through our parsers, without data or models."""

from hardpairs.cli.command_line import command_arguments
from hardpairs.training.upstream import patched


def training_args(*argv):
    """The namespace of the trainer's real parser, without the checks that open the data."""
    params = patched("params")
    checks, params.check_arguments = params.check_arguments, lambda parser, args: args
    try:
        return params.parse_args(command_arguments("train", argv))
    finally:
        params.check_arguments = checks


def values(args, *names):
    return tuple(getattr(args, name) for name in names)
