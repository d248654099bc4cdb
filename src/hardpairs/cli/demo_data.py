"""Make demonstration data: images with captions behind URLs, as image-text data is published.

    hardpairs demo-data --out data/demo --pairs 2000            # photographs of OpenMoji stickers
    hardpairs demo-data --out data/demo --pairs 2000 --serve    # and serves them until Ctrl-C
    hardpairs demo-data --out data/scenes --kind scenes --pairs 300   # colored shapes: seconds
    hardpairs demo-data --out data/classes --layout classes     # class folders, news.csv
    hardpairs demo-data --out data/photos --layout captions --pairs 210 --views 1   # captions.json

Writes OUT/{train,val,test}.tsv (caption, url, group), OUT/images/ and OUT/manifest.json. The train
table has a few broken entries, declared in the manifest, as every real table does. With --layout
classes OUT/{train,validation,test/query,test/gallery} of class folders and OUT/news.csv; with
--layout captions OUT/images/ and OUT/captions.json, one or two captions of each photograph. The
same options give the same bytes; finished data is not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.errors import Exit, flags
from hardpairs.core.parser import Parser

LAYOUTS = ("pairs", "classes", "captions")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(
        prog="hardpairs demo-data",
        description="Make demonstration data: images with captions behind URLs.",
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder to make")
    add(
        "--kind",
        choices=("emoji", "scenes"),
        default="emoji",
        help="photographs of stickers, or scenes of colored shapes",
    )
    add(
        "--layout",
        choices=LAYOUTS,
        default="pairs",
        help="tables of texts and URLs, class folders, or a captions.json",
    )
    add(
        "--pairs",
        type=int,
        default=2000,
        help="image-text pairs to train on (default: %(default)s)",
    )
    add("--views", type=int, default=8, help="train photographs per drawing (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of drawings and photographs (default: 0)")
    add(
        "--second-vendor",
        type=Path,
        metavar="FOLDER",
        help="another vendor's drawings: npm's emoji-datasource-google, or PNG files and "
        "names.json",
    )
    add("--serve", action="store_true", help="serve the images on 127.0.0.1 until Ctrl-C")
    add("--port", type=int, default=0, help="port of the server; 0 takes a free one (default)")
    add("--force", action="store_true", help="make the data again, in place of an earlier run's")
    return parse_arguments(parser, "demo-data", argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    args = parse_args(argv)
    from hardpairs.demo.classes import build_classes
    from hardpairs.demo.collection import build_collection
    from hardpairs.demo.options import DemoOptions
    from hardpairs.demo.pairs import build_pairs

    build = dict(zip(LAYOUTS, (build_pairs, build_classes, build_collection), strict=True))
    with flags(vars(args)):
        options = DemoOptions(
            kind=args.kind,
            pairs=args.pairs,
            views=args.views,
            seed=args.seed,
            second_vendor=str(args.second_vendor) if args.second_vendor else None,
            layout=args.layout,
        )
        made = build[args.layout](args.out, options, force=args.force)
        print(
            f"{args.out}: {'made' if made else 'finished already, nothing to do'}",
            file=sys.stderr,
        )
        if args.layout == "pairs":
            _point_tables(args.out, args.port, serve=args.serve)
    return Exit.OK


def _point_tables(folder: Path, port: int, *, serve: bool) -> None:
    from hardpairs.demo.pairs import UNSERVED_URL
    from hardpairs.demo.serve import ImageServer, serve_until_stopped
    from hardpairs.demo.tables import move_tables

    if serve:
        server = ImageServer(folder / "images", port)
        move_tables(folder, server.url)
        serve_until_stopped(server, folder)
    else:
        move_tables(folder, f"http://127.0.0.1:{port}" if port else UNSERVED_URL)
