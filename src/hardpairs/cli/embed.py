r"""Embed the images and captions of a data set.

hardpairs embed --csv pairs.csv --model ViT-B-32 --pretrained epoch_5.pt --out EMB
hardpairs embed --shards 'data/{00000..00331}.tar' --out EMB \
    --image-encoder timm/vit_small_patch14_reg4_dinov2.lvd142m \
    --text-encoder sentence-transformers/all-mpnet-base-v2
torchrun --nproc_per_node 8 -m hardpairs.cli embed --shards data --out EMB \
    --model ViT-B-32 --pretrained laion2b_s34b_b79k

Writes clip-retrieval's layout (img_emb/, text_emb/, metadata/) and a manifest. The same command
continues a killed run: finished parts are in EMB/.unfinished. Started while another process works,
on any machine that reaches the folder, it shares the work. EMB may be a place in an object store,
such as s3://bucket/emb (--allow-remote). A finished folder made from the same
data, model and weights is kept as it is.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.devices import choose_device
from hardpairs.core.errors import Exit, flags, usage, whole_number
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists, check_weights
from hardpairs.core.peers import add_peer_timeout
from hardpairs.core.remote import is_url

if TYPE_CHECKING:
    from hardpairs.data.samples import Samples


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(
        prog="hardpairs embed", description="Embed the images and captions of a data set."
    )
    _add_data(parser.add_argument_group("data (--shards or --csv)"))
    _add_encoders(
        parser.add_argument_group(
            "encoders (--model, or one for each half; --model stands for a half that is not named)"
        )
    )
    parser.add_argument(
        "--out",
        required=True,
        help="output folder, or with --allow-remote a place in an object store, such as "
        "s3://bucket/emb",
    )
    parser.add_argument("--batch-size", type=whole_number(1), default=256, metavar="N")
    parser.add_argument(
        "--workers",
        type=whole_number(0),
        default=2,
        metavar="N",
        help="processes of each rank that load and decode (default: %(default)s)",
    )
    parser.add_argument(
        "--part-rows",
        type=whole_number(1),
        default=8192,
        metavar="N",
        help="rows between commits of unfinished work (default: %(default)s)",
    )
    parser.add_argument(
        "--max-bad-fraction",
        type=float,
        default=0.01,
        metavar="X",
        help="stop when more than this share of the images cannot be read (default: %(default)s)",
    )
    parser.add_argument("--device", help="default: cuda where there is one, otherwise cpu")
    add_peer_timeout(parser)
    args = parse_arguments(parser, "embed", argv)
    if not 0 <= args.max_bad_fraction <= 1:
        raise usage(f"--max-bad-fraction must lie in [0, 1], not {args.max_bad_fraction}")
    if bool(args.shards) == bool(args.csv):
        raise usage("give either --shards or --csv")
    if is_url(args.out):
        _check_remote(args.out, args.allow_remote)
    if args.csv and (args.start_tar is not None or args.end_tar is not None):
        raise usage("--start-tar and --end-tar choose among --shards", fix="leave them out")
    return args


def _check_remote(out: str, allow_remote: bool) -> None:
    """Refuse a URL that is not asked for, or that nothing can be written to (exit 2)."""
    from hardpairs.core.remote_writing import output_folder

    if not allow_remote:
        raise usage(
            "the output folder is behind a URL",
            where=out,
            why="nothing is sent over the network unasked",
            fix="--allow-remote, or name a local folder",
        )
    output_folder(out)


def _add_data(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--shards", nargs="+", help="webdataset tars: brace text, glob, folder or list"
    )
    group.add_argument(
        "--start-tar", type=whole_number(0), metavar="N", help="first tar, by its number"
    )
    group.add_argument("--end-tar", type=whole_number(0), metavar="N", help="last tar, included")
    group.add_argument("--csv", help="OpenCLIP CSV or TSV, or MiniCLIP captions.json")
    add_data_flags(group)


def _add_encoders(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", help="OpenCLIP model name, or local-dir:FOLDER with its weights")
    group.add_argument(
        "--pretrained",
        help="its checkpoint file or OpenCLIP tag; none: random weights, to try things out",
    )
    group.add_argument(
        "--image-encoder",
        help="KIND/NAME, such as timm/NAME (hardpairs list encoders), or a folder with config.json "
        "and weights",
    )
    group.add_argument("--image-weights", help="a local file of its weights; none: random ones")
    group.add_argument(
        "--image-size",
        type=whole_number(1),
        metavar="N",
        help="pixels of its input, where it is not to be the model's own",
    )
    group.add_argument(
        "--image-crop",
        type=float,
        metavar="X",
        help="share of the resized image's side that the center crop keeps, where it is not to be "
        "the model's own",
    )
    group.add_argument(
        "--image-resize-mode",
        choices=("shortest", "longest", "squash"),
        help="of --model: cut, padded to a square, stretched (default: its own)",
    )
    group.add_argument(
        "--without-projection",
        action="store_true",
        help="of --model: features of its towers, before their projections into one space",
    )
    group.add_argument(
        "--text-encoder",
        help="KIND/NAME, or a model of sentence-transformers: a name or a folder (pip install "
        "sentence-transformers)",
    )
    group.add_argument(
        "--seed", type=whole_number(0), default=0, metavar="N", help="seed of random weights"
    )


def open_data(args: argparse.Namespace) -> Samples:
    """Return the samples that the data flags name."""
    from hardpairs.data.datasets import shards_between

    if args.csv:
        return open_named(args.csv, args)
    shards = args.shards if len(args.shards) > 1 else args.shards[0]
    return open_named(shards_between(shards, args.start_tar, args.end_tar), args)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parse_args(argv)
    with flags(vars(args), resize_mode="--image-resize-mode"):
        _run(args)
    return Exit.OK


def _run(args: argparse.Namespace) -> None:
    check_weights(args.pretrained)
    if args.image_weights:
        check_exists(args.image_weights)
    # Before PyTorch is imported; of several processes the first opens the data before the others.
    samples = open_data(args) if os.environ.get("WORLD_SIZE", "1") == "1" else None
    device = choose_device(args.device)
    from hardpairs.core.ranks import join
    from hardpairs.embedding.embed import embed_to_folder
    from hardpairs.models.encoders import open_encoders

    ranks = join(args.peer_timeout)
    device = ranks.device(device)
    if samples is None:
        samples = ranks.first_alone(lambda: open_data(args))
    ranks.close()  # from here on each process takes its parts, whatever becomes of the others
    encoders = open_encoders(
        model=args.model,
        pretrained=args.pretrained,
        image_encoder=args.image_encoder,
        image_weights=args.image_weights,
        image_size=args.image_size,
        image_crop=args.image_crop,
        text_encoder=args.text_encoder,
        device=device,
        seed=args.seed,
        captions=samples.captions,
        resize_mode=args.image_resize_mode,
        without_projection=args.without_projection,
    )
    embed_to_folder(
        samples,
        encoders,
        args.out,
        batch_size=args.batch_size,
        workers=args.workers,
        device=device,
        part_rows=args.part_rows,
        max_bad_fraction=args.max_bad_fraction,
        quiet=ranks.rank > 0,
    )
