"""Fetch the weights of a training command and check its flags and data, before a job is submitted.

hardpairs stage --train-data pairs.csv --model ViT-B-32 --pretrained laion2b_s34b_b79k ...

It takes every flag of hardpairs train, starts no run, and prints what the run will read. On a
machine without a network, such as a compute node, HF_HUB_OFFLINE=1 keeps OpenCLIP from trying.
"""

from __future__ import annotations

import argparse
import json
import os

from hardpairs.cli.command_line import command_arguments
from hardpairs.core.errors import Exit
from hardpairs.core.parser import Parser
from hardpairs.training.upstream import patched


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = Parser(
        prog="hardpairs stage",
        description="Fetch the weights of a training command, and check its flags and data.",
        epilog="All flags are those of hardpairs train.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _, argv = parser.parse_known_args(argv)
    args = patched("params").parse_args([*command_arguments("train", argv), "--name", ""])
    from hardpairs.models.load import load_encoder

    staged = {"train_data": args.train_data, "model": args.model, "pretrained": args.pretrained}
    if args.pretrained and not os.path.exists(args.pretrained):
        load_encoder(args.model, args.pretrained)
    print(json.dumps(staged))
    return Exit.OK
