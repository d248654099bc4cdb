"""Finds for each query picture the nearest pictures of a gallery.

    python -m tools.retrieve --query test/query --gallery test/gallery --model ViT-B-32 --pretrained epoch_5.pt --out found
    python -m tools.retrieve --query val.csv --gallery gallery.csv --csv-label-key label --model RN50-quickgelu --pretrained openai --out found --metric euclidean

Query and gallery are folders of pictures (class folders are labels), CSVs or shards. Writes OUT/retrieved.json, {query: [gallery names]}, best
first; with ``--groupname`` OUT/submission.json, the body that the challenge's server takes; with labels on both sides OUT/retrieval.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.atomic import write_json
from hardpairs.core.errors import Exit, bad_input, usage, whole_number
from hardpairs.data.samples import Samples
from hardpairs.embedding.embed import embed
from hardpairs.embedding.stream import Embedded
from hardpairs.metrics.gallery import SCORE_WEIGHTS, gallery_metrics
from hardpairs.metrics.neighbors import nearest
from hardpairs.models.encoders import open_encoders
from hardpairs.models.head import EmbeddingHead, changes_space, embed_with, load_head


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs retrieve",
        description="Find the nearest gallery pictures of each query.",
    )
    parser.add_argument("--query", required=True, help="folder of pictures, CSV or shards")
    parser.add_argument("--gallery", required=True, help="the same")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", help="OpenCLIP model")
    parser.add_argument("--pretrained", help="checkpoint file or OpenCLIP tag")
    parser.add_argument(
        "--head",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="by the layers that metric learning put behind the image tower",
    )
    parser.add_argument("--k", type=whole_number(1), default=10)
    parser.add_argument(
        "--metric",
        choices=("cosine", "euclidean"),
        default="cosine",
        help="of unit rows, so both give one order",
    )
    parser.add_argument(
        "--groupname", help="also write the challenge's submission, under this name"
    )
    parser.add_argument(
        "--score-weights",
        type=float,
        nargs=3,
        default=list(SCORE_WEIGHTS.values()),
        metavar=("TOP1", "TOP5", "TOP10"),
        help="of the score",
    )
    parser.add_argument("--batch-size", type=whole_number(1), default=256)
    parser.add_argument("--workers", type=whole_number(0), default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add_data_flags(parser)
    args = parse_arguments(parser, "retrieve", argv)
    if args.model is None:
        raise usage("nothing embeds the pictures", fix="--model and --pretrained")
    return args


def names_of(samples: Samples) -> list[str]:
    """What the pictures are called, by row: file names where they tell all apart, else keys, else SHARD/KEY.

    Raises:
        UserError: exit 3 when even these repeat: answers to two pictures would be one.
    """
    keys = list(samples.keys)
    tries = (
        [Path(key).name for key in keys],
        keys,
        [f"{shard}/{key}" for shard, key in zip(samples.shards, keys, strict=True)],
    )
    found = next((names for names in tries if len(set(names)) == len(names)), None)
    if found is None:
        name, times = Counter(tries[-1]).most_common(1)[0]
        raise bad_input(
            f"{times} rows are the picture {name.removeprefix('/')}",
            where=samples.source,
            fix="one row for each picture",
        )
    return found


def picture_head(pretrained: str | None) -> EmbeddingHead | None:
    """A checkpoint's head, where it has layers of its own and is about pictures alone (``--embed image --projection``)."""
    head = load_head(pretrained) if pretrained and os.path.isfile(pretrained) else None
    return head if head is not None and head.kind == "image" and changes_space(head) else None


@dataclass(frozen=True)
class Retrieved:
    """asked, offered: what was embedded of queries and gallery, by the head where there is one. found: {query: [gallery names]}, best first."""

    asked: Embedded
    offered: Embedded
    found: dict[str, list[str]]


def retrieve(
    query: Samples,
    gallery: Samples,
    *,
    model: str,
    pretrained: str | None,
    head: bool = True,
    k: int = 10,
    euclidean: bool = False,
    batch_size: int = 256,
    workers: int = 2,
    device: str = "cpu",
) -> Retrieved:
    """The ``k`` nearest gallery pictures of each query picture that can be read.

    Args:
        model, pretrained: as in ``hardpairs.models.encoders.open_encoders``. head: by the checkpoint's head, where it has layers about pictures.
        euclidean: by distance; of unit rows, so the order is that of cosine.

    Raises:
        UserError: exit 3 for pictures of one name, before anything is embedded.
    """
    names, gallery_names = names_of(query), names_of(gallery)
    encoders = open_encoders(
        model=model, pretrained=pretrained, device=device, captions=gallery.captions
    )
    options = {"batch_size": batch_size, "workers": workers, "device": device}
    asked, offered = (embed(samples, encoders, **options) for samples in (query, gallery))
    layers = picture_head(pretrained) if head else None
    if layers is not None:
        asked, offered = (
            replace(side, image=embed_with(layers, side.image, side.text))
            for side in (asked, offered)
        )
    indices, _ = nearest(asked.image, offered.image, k, euclidean=euclidean)
    lists = zip(asked.rows.tolist(), offered.rows[indices].tolist(), strict=True)
    return Retrieved(
        asked,
        offered,
        {names[row]: [gallery_names[other] for other in others] for row, others in lists},
    )


def submission(found: dict[str, list[str]], groupname: str) -> dict:
    """The body that the challenge's server takes."""
    return {"groupname": groupname, "images": found}


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    query, gallery = open_named(args.query, args), open_named(args.gallery, args)
    options = {
        name: getattr(args, name)
        for name in ("model", "pretrained", "head", "k", "batch_size", "workers", "device")
    }
    made = retrieve(query, gallery, euclidean=args.metric == "euclidean", **options)
    write_json(args.out / "retrieved.json", made.found)
    if args.groupname:
        write_json(args.out / "submission.json", submission(made.found, args.groupname))
    numbers = {
        "queries": len(made.found),
        "gallery": len(made.offered.rows),
        **_unread(made.asked, made.offered),
    }
    if query.labelled[made.asked.rows].any() and gallery.labelled[made.offered.rows].any():
        weights = dict(zip(SCORE_WEIGHTS, args.score_weights, strict=True))
        numbers |= _measured(query, gallery, made.asked, made.offered, weights)
        write_json(args.out / "retrieval.json", numbers)
    print(json.dumps(numbers))
    print(f"retrieved: {args.out / 'retrieved.json'}", file=sys.stderr)
    return Exit.OK


def _unread(asked: Embedded, offered: Embedded) -> dict:
    """Pictures that could not be read, by reason: they are in no list, and nobody should wonder where they went."""
    reasons = Counter([*asked.rejected.values(), *offered.rejected.values()])
    return {"unreadable": dict(sorted(reasons.items()))} if reasons else {}


def _measured(
    query: Samples, gallery: Samples, asked: Embedded, offered: Embedded, weights: dict[int, float]
) -> dict[str, float]:
    known = query.labelled[asked.rows]
    return gallery_metrics(
        asked.image[known] @ offered.image.T,
        query.groups[asked.rows][known],
        gallery.groups[offered.rows],
        weights=weights,
    )
