"""Make a real data set of images with captions out of packages of npm or Debian.

    hardpairs data get icons                        # 30,000 icons with their names
    hardpairs data get openclipart --out clipart    # drawings with titles and keywords
    hardpairs data get tuxpaint                     # stamps with one sentence each
    hardpairs data get emoji                        # four vendors' emoji with names and tags

Writes OUT/{train,val,test}/*.tar (shards as img2dataset writes them), OUT/{train,val,test}.csv (the
same rows), OUT/README.md, OUT/contact.png, OUT/licenses/ and OUT/manifest.json. The registry's own
client fetches each package once, and its bytes are checked. Finished data is not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.errors import Exit, flags, whole_number
from hardpairs.core.parser import Parser


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(
        prog="hardpairs data get",
        description="Make a real data set out of packages of npm or Debian.",
    )
    add = parser.add_argument
    add("name", metavar="NAME", help="icons, openclipart, tuxpaint or emoji")
    add("--out", type=Path, metavar="DIR", help="folder to make (default: data/NAME)")
    add(
        "--limit",
        type=whole_number(7),
        default=30_000,
        metavar="N",
        help="largest number of pairs; of icons there are 108,000 (default: %(default)s)",
    )
    add(
        "--image-size",
        type=whole_number(16),
        default=128,
        metavar="N",
        help="pixels of an image's side (default: %(default)s)",
    )
    add("--seed", type=whole_number(0), default=0, metavar="N", help="seed of the split")
    add_packages_flag(parser)
    return parse_arguments(parser, "data get", argv)


def add_packages_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--packages`` to a command that fetches packages."""
    parser.add_argument(
        "--packages",
        type=Path,
        metavar="DIR",
        help="folder where packages are looked for and kept (default: in the user's cache)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    args = parse_args(argv)
    from hardpairs.catalog.build import Options, build_set
    from hardpairs.catalog.packages import default_folder
    from hardpairs.catalog.sets import find_set

    with flags(vars(args), side="--image-size"):
        data = find_set(args.name)
        out = args.out or Path("data") / args.name
        options = Options(side=args.image_size, limit=args.limit, seed=args.seed)
        _report(out, build_set(data, out, options, args.packages or default_folder()))
    return Exit.OK


def _report(out: Path, manifest: dict[str, Any]) -> None:
    parts = ", ".join(f"{name} {part['pairs']:,}" for name, part in manifest["parts"].items())
    terms = ", ".join(f"{name} {count:,}" for name, count in manifest["licenses"].items())
    print(f"{out}: {parts} pairs", file=sys.stderr)
    print(f"licenses: {terms}; their texts are in {out / 'licenses'}", file=sys.stderr)
