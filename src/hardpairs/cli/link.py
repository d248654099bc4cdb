r"""Link near duplicates: clusters by single linkage on images, texts or both.

    hardpairs link --embeddings EMB --data news.csv --csv-group-key label --opt-im-wt \
        --out linked --html linked/clusters.html
    hardpairs link --embeddings EMB --threshold 0.23 --im-wt 0.76 --out linked
    hardpairs link --data news.csv --csv-group-key label --model ViT-B-32 \
        --pretrained 'logs/x/checkpoints/*.pt' --out linked

The labels are split in two parts without a label in common. The first part chooses the threshold
(and the image weight); the agreement that is reported comes from the second. As in CLIPPINGS the
rows of each part are linked by themselves for this; --protocol joint takes the tree of all rows. Of
several checkpoints the best by the first part's labels is taken. Writes OUT/clusters.csv (row, key,
cluster), OUT/linkage.json and OUT/cuts.csv (ARI at every cut). With --reference each row is linked
to its nearest rows of another folder instead: OUT/links.csv.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.devices import choose_device
from hardpairs.core.errors import Exit, flags, usage, whole_number
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists, check_weights

if TYPE_CHECKING:
    from hardpairs.data.samples import Samples
    from hardpairs.linking.rows import LinkSource

FLAGS = {
    "image_weight": "--im-wt",
    "search_weight": "--opt-im-wt",
    "validation_share": "--val-share",
    "pooling": "--pooling-type",
}
"""Flags of the library's parameters that have another name."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, and refuse flags that contradict each other."""
    parser = Parser(prog="hardpairs link", description="Link near duplicates by image and text.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    _add_input(parser.add_argument_group("what is linked (--embeddings, or --model and --data)"))
    _add_choice(parser.add_argument_group("how"))
    _add_reference(parser.add_argument_group("links to a reference list, instead of clusters"))
    args = parse_arguments(parser, "link", argv)
    _check(args)
    return args


def _add_input(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--embeddings", help="folder of embeddings, ours or clip-retrieval's")
    add("--data", help="CSV, shards or a folder of class folders: labels, names and images")
    add("--model", help="OpenCLIP model, or local-dir:FOLDER with its weights")
    add("--pretrained", help="its weights; of several that a glob matches, the best are taken")
    add("--device", help="default: cuda where there is one, otherwise cpu")
    add_data_flags(group)


def _add_choice(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--im-wt",
        type=float,
        help="the image's weight, from 0 (texts alone) to 1 (images alone); default: that of the "
        "checkpoint's pooling head, else 0.5",
    )
    add(
        "--pooling-type",
        choices=("mean", "head"),
        help="one vector of image and text by weight, or by the checkpoint's head; default: the "
        "head where it has layers",
    )
    add("--head", help="checkpoint with the head, where --embeddings were made by it")
    add("--opt-im-wt", action="store_true", help="choose the weight by the labels, too")
    add("--threshold", type=float, help="cosine distance; default: the best by the labels")
    add("--val-share", type=float, default=0.4, help="share of the labels that choose")
    add("--seed", type=whole_number(0), default=42, help="seed of the split of the labels")
    add(
        "--protocol",
        choices=("parts", "joint"),
        default="parts",
        help="parts: the rows that choose and the rows that are reported are linked apart, as in "
        "CLIPPINGS; joint: in one tree of all rows (default: %(default)s)",
    )
    add(
        "--compare",
        action="store_true",
        help="also DBSCAN, average linkage and HDBSCAN, tuned on the same labels",
    )
    add(
        "--html",
        type=Path,
        help="page of clusters, and of the pairs nearest the threshold; needs --data",
    )


def _add_reference(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--reference", help="folder of embeddings to link to")
    group.add_argument("--reference-data", help="what they were made of: labels and names")
    group.add_argument("--k", type=whole_number(1), default=1, help="links of each row")


def _check(args: argparse.Namespace) -> None:
    if bool(args.embeddings) == bool(args.model):
        raise usage(
            "give either --embeddings, or --model and --data",
            fix="hardpairs embed makes embeddings",
        )
    if args.model and not args.data:
        raise usage("--model needs --data to embed")
    if args.threshold is not None and not 0 <= args.threshold <= 2:
        raise usage(f"--threshold is a cosine distance from 0 to 2, not {args.threshold}")
    if args.head and args.pooling_type == "mean":
        raise usage("--head and --pooling-type mean contradict each other")
    if args.html and not args.data:
        raise usage("--html shows images, and nothing says where they are", fix="--data")
    about_clusters = {
        "--opt-im-wt": args.opt_im_wt,
        "--compare": args.compare,
        "--threshold": args.threshold is not None,
        "--html": args.html,
    }
    idle = [flag for flag, given in about_clusters.items() if given]
    if args.reference and idle:
        raise usage(
            f"{idle[0]} is about clusters, and --reference makes none", fix="leave one of them out"
        )
    if args.reference_data and not args.reference:
        raise usage(
            "--reference-data says what --reference was made of, and there is none",
            fix="--reference EMB2",
        )
    if not args.data and args.threshold is None and not args.reference:
        raise usage(
            "without labels nothing says which threshold is good",
            fix="--data with a label column, or --threshold",
        )


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    with flags(vars(args), **FLAGS):
        check_weights(args.pretrained)
        for folder in filter(None, (args.embeddings, args.reference)):
            check_exists(folder, "folder")
        samples = open_named(args.data, args) if args.data else None
        if samples and _uses_images_alone(args):
            samples = samples.by_image()
        if args.reference:
            numbers = _link_to_reference(args, samples)
        else:
            command = shlex.join(["hardpairs", "link", *argv])
            numbers = _link_clusters(args, samples, command)
    print(json.dumps(numbers))
    return Exit.OK


def _uses_images_alone(args: argparse.Namespace) -> bool:
    searches = args.opt_im_wt or args.compare or args.pooling_type == "head" or args.head
    return bool(args.im_wt == 1 and not searches)


def _source(args: argparse.Namespace, samples: Samples | None) -> LinkSource:
    from hardpairs.linking.rows import LinkSource

    return LinkSource(
        samples,
        data=args.data or "",
        embeddings=args.embeddings,
        model=args.model,
        device=choose_device(args.device),
        head=args.head,
        pooling=args.pooling_type,
    )


def _link_to_reference(args: argparse.Namespace, samples: Samples | None) -> dict[str, float]:
    from hardpairs.linking.reference import link_to_reference

    return link_to_reference(
        _source(args, samples),
        args.pretrained,
        args.reference,
        _reference_samples(args),
        args.out,
        image_weight=args.im_wt,
        k=args.k,
        reference_data=args.reference_data or "",
    )


def _reference_samples(args: argparse.Namespace) -> Samples | None:
    if not args.reference_data:
        return None
    samples = open_named(args.reference_data, args)
    return samples.by_image() if _uses_images_alone(args) else samples


def _link_clusters(
    args: argparse.Namespace, samples: Samples | None, command: str
) -> dict[str, Any]:
    from hardpairs.linking.clusters import CutOptions, link_clusters, write_clusters

    options = CutOptions(
        image_weight=args.im_wt,
        search_weight=args.opt_im_wt,
        threshold=args.threshold,
        validation_share=args.val_share,
        seed=args.seed,
        compare=args.compare,
        protocol=args.protocol,
    )
    result, numbers = link_clusters(_source(args, samples), options, args.pretrained)
    record = {**numbers, "command": command}
    write_clusters(args.out, result, record)
    if args.html and samples is not None:
        from hardpairs.core.atomic import write_text
        from hardpairs.linking.page import link_page
        from hardpairs.pages.template import render_template

        page = link_page(result, record, samples)
        write_text(args.html, render_template("links.html.j2", page=page))
        print(f"page: {args.html}", file=sys.stderr)
    return {name: value for name, value in numbers.items() if name != "weights_tried"}
