"""Read the flags of a training command in another command, which looks at its batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hardpairs.cli.command_line import command_arguments
from hardpairs.core.errors import usage


def parse_training_flags(argv: Sequence[str]) -> dict[str, Any]:
    """Parse and check the flags of ``hardpairs train`` as the trainer does.

    Args:
        argv: The flags; a run's name is ignored, since it would be refused where that run exists.

    Returns:
        Options by name, as the trainer writes them into params.txt.

    Raises:
        UserError: Exit 2 for flags that the trainer refuses, or that leave the batches to OpenCLIP.
    """
    from hardpairs.training.upstream import patched

    # Batches do not depend on the precision; naming one keeps the parser from choosing it aloud.
    argv = ["--precision", "fp32", *command_arguments("train", argv), "--name", ""]
    options: dict[str, Any] = vars(patched("params").parse_args(argv))
    if options["batching"] is None:
        raise usage(
            "these flags leave the batches to OpenCLIP",
            fix="--use-hard, or --batching random, topical, ...",
        )
    return options
