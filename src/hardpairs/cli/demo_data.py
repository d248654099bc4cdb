"""Makes demonstration data: pictures with captions behind URLs, as an image-text data set is published.

    python -m tools.demo_data --out data/demo --pairs 2000                 # photographs of OpenMoji stickers
    python -m tools.demo_data --out data/demo --pairs 2000 --serve         # and serves them until Ctrl-C
    python -m tools.demo_data --out data/scenes --kind scenes --pairs 300  # coloured shapes in relations: seconds
    python -m tools.demo_data --out data/classes --layout classes          # class folders, a query and a gallery folder, news.csv
    python -m tools.demo_data --out data/photos --layout captions --pairs 210 --views 1   # a small collection with a captions.json

Writes OUT/{train,val,test}.tsv (caption, url, group), OUT/images/ and OUT/manifest.json. The train table also has a few broken
entries (declared in the manifest), as every real table does. With ``--layout classes`` OUT/{train,validation,test/query,test/gallery} of class folders
and OUT/news.csv; with ``--layout captions`` OUT/images/ and OUT/captions.json, one or two captions of each photograph. The same options give the same bytes; finished data is not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.demo.build import UNSERVED_URL, Options, build
from hardpairs.demo.classes import build_classes
from hardpairs.demo.collection import build_collection
from hardpairs.demo.serve import PictureServer, serve_until_stopped
from hardpairs.demo.tables import SPLITS, move_table

BUILD = {"pairs": build, "classes": build_classes, "captions": build_collection}
DEFAULT_VIEWS = 8
DEFAULT_PAIRS = 2000


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(_parser(), "demo-data", argv)
    vendor = str(arguments.second_vendor) if arguments.second_vendor else None
    options = Options(
        arguments.kind, arguments.pairs, arguments.views, arguments.seed, vendor, arguments.layout
    )
    made = BUILD[arguments.layout](arguments.out, options, force=arguments.force)
    print(
        f"{arguments.out}: {'made' if made else 'finished already, nothing to do'}", file=sys.stderr
    )
    if arguments.layout != "pairs":
        return 0
    if arguments.serve:
        _serve(arguments.out, arguments.port)
    else:
        _point_tables(
            arguments.out, f"http://127.0.0.1:{arguments.port}" if arguments.port else UNSERVED_URL
        )
    return 0


def _serve(folder: Path, port: int) -> None:
    server = PictureServer(folder / "images", port)
    _point_tables(folder, server.url)
    serve_until_stopped(server, folder)


def _point_tables(folder: Path, url: str) -> None:
    for split in SPLITS:
        move_table(folder / f"{split}.tsv", url)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hardpairs demo-data", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument(
        "--kind",
        choices=("emoji", "scenes"),
        default="emoji",
        help="photographs of stickers, or scenes of coloured shapes",
    )
    parser.add_argument(
        "--layout",
        choices=list(BUILD),
        default="pairs",
        help="tables of texts and URLs, class folders, or a captions.json",
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=DEFAULT_PAIRS,
        help="image-text pairs to train on (default: %(default)s)",
    )
    parser.add_argument(
        "--views",
        type=int,
        default=DEFAULT_VIEWS,
        help="train photographs per drawing (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="which drawings and photographs (default: %(default)s)"
    )
    parser.add_argument(
        "--second-vendor",
        type=Path,
        metavar="DIR",
        help="another vendor's drawings: npm's emoji-datasource-google, or PNG files and names.json",
    )
    parser.add_argument(
        "--serve", action="store_true", help="serve the pictures on 127.0.0.1 until Ctrl-C"
    )
    parser.add_argument(
        "--port", type=int, default=0, help="of the server; 0 takes a free one (default)"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="make the data again, replacing what an earlier run made",
    )
    return parser
