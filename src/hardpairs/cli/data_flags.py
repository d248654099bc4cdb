"""The flags of every command that reads a data set, with OpenCLIP's names."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from hardpairs.core.errors import flags
from hardpairs.data.split_parts import PARTS

if TYPE_CHECKING:
    from hardpairs.data.samples import Samples

DATA_FLAGS = {
    "separator": "--csv-separator",
    "image_key": "--csv-img-key",
    "caption_key": "--csv-caption-key",
    "group_key": "--csv-group-key",
    "image_root": "--image-root",
    "caption_template": "--caption-template",
    "split": "--split",
    "allow_remote": "--allow-remote",
}
"""The flags of the parameters of ``open_samples``."""


def add_data_flags(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the flags to a command's parser, or to a group of it."""
    parser.add_argument("--csv-separator", help="default: found from the header")
    parser.add_argument(
        "--csv-img-key",
        default="filepath",
        help="column of the images; for shards, also the suffix of the images, such as input.jpg",
    )
    parser.add_argument(
        "--csv-caption-key",
        default="title",
        help="column of the captions; for shards, also their suffix, or their key in the .json",
    )
    parser.add_argument(
        "--csv-group-key",
        default="group",
        help="column of a CSV whose equal values are known positives, or one class (may be absent)",
    )
    parser.add_argument(
        "--unlabelled",
        nargs="*",
        default=(),
        help="values of that column that mean none, as an empty one does",
    )
    parser.add_argument(
        "--image-root",
        help="folder of the images of a table, a captions.json or a .jsonl (default: where their "
        "paths lead)",
    )
    parser.add_argument(
        "--caption-template",
        metavar="TEXT",
        help="captions of a folder of class folders, such as 'a photo of class number {}' "
        "(default: the folder's name)",
    )
    parser.add_argument(
        "--split",
        choices=PARTS,
        help="part of a folder that hardpairs split made, or of Karpathy's dataset_flickr30k.json "
        "or dataset_coco.json",
    )
    parser.add_argument(
        "--allow-remote", action="store_true", help="read data and images that are behind URLs"
    )


def data_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of ``open_samples`` that these flags give."""
    return {
        "separator": args.csv_separator,
        "image_key": args.csv_img_key,
        "caption_key": args.csv_caption_key,
        "group_key": args.csv_group_key,
        "unlabelled": args.unlabelled,
        "image_root": args.image_root,
        "caption_template": args.caption_template,
        "split": args.split,
        "allow_remote": args.allow_remote,
    }


def open_named(source: str | list[str], args: argparse.Namespace) -> Samples:
    """Open a data set with these flags.

    Args:
        source: Its path, or several shards.
        args: The parsed command line.
    """
    from hardpairs.data.opening import open_samples

    with flags(**DATA_FLAGS):
        return open_samples(source, **data_options(args))
