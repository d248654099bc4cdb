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
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from evaluation.gallery import SCORE_WEIGHTS, gallery_metrics
from evaluation.neighbours import nearest
from formats.arguments import add_data_flags, open_named
from formats.atomic import write_json
from formats.errors import Exit, run_command, usage, whole_number
from formats.samples import Samples
from mining.embed import embed
from mining.encoders import open_encoders
from mining.stream import Embedded
from training.metric.head import EmbeddingHead, changes_space, embed_with, load_head


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.retrieve", description="Find the nearest gallery pictures of each query.")
    parser.add_argument("--query", required=True, help="folder of pictures, CSV or shards")
    parser.add_argument("--gallery", required=True, help="the same")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", help="OpenCLIP model")
    parser.add_argument("--pretrained", help="checkpoint file or OpenCLIP tag")
    parser.add_argument(
        "--head", action=argparse.BooleanOptionalAction, default=True, help="by the layers that metric learning put behind the image tower"
    )
    parser.add_argument("--k", type=whole_number(1), default=10)
    parser.add_argument("--metric", choices=("cosine", "euclidean"), default="cosine", help="of unit rows, so both give one order")
    parser.add_argument("--groupname", help="also write the challenge's submission, under this name")
    parser.add_argument(
        "--score-weights", type=float, nargs=3, default=list(SCORE_WEIGHTS.values()), metavar=("TOP1", "TOP5", "TOP10"), help="of the score"
    )
    parser.add_argument("--batch-size", type=whole_number(1), default=256)
    parser.add_argument("--workers", type=whole_number(0), default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add_data_flags(parser)
    args = parser.parse_args(argv)
    if args.model is None:
        raise usage("nothing embeds the pictures", fix="--model and --pretrained")
    return args


def file_names(samples: Samples, rows: np.ndarray) -> list[str]:
    """What the pictures are called: file names where they tell all apart, else keys."""
    keys = [samples.keys[int(row)] for row in rows]
    names = [Path(key).name for key in keys]
    return names if len(set(names)) == len(names) else keys


def picture_head(pretrained: str | None) -> EmbeddingHead | None:
    """A checkpoint's head, where it has layers of its own and is about pictures alone (``--embed image --projection``)."""
    head = load_head(pretrained) if pretrained and os.path.isfile(pretrained) else None
    return head if head is not None and head.kind == "image" and changes_space(head) else None


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    query, gallery = open_named(args.query, args), open_named(args.gallery, args)
    encoders = open_encoders(model=args.model, pretrained=args.pretrained, device=args.device, captions=gallery.captions)
    options = {"batch_size": args.batch_size, "workers": args.workers, "device": args.device}
    asked, offered = (embed(samples, encoders, **options) for samples in (query, gallery))
    head = picture_head(args.pretrained) if args.head else None
    if head is not None:
        asked, offered = (replace(side, image=embed_with(head, side.image, side.text)) for side in (asked, offered))
    indices, _ = nearest(asked.image, offered.image, args.k, euclidean=args.metric == "euclidean")
    names, gallery_names = file_names(query, asked.rows), file_names(gallery, offered.rows)
    found = {name: [gallery_names[place] for place in places] for name, places in zip(names, indices.tolist(), strict=True)}
    write_json(args.out / "retrieved.json", found)
    if args.groupname:
        write_json(args.out / "submission.json", {"groupname": args.groupname, "images": found})
    numbers = {"queries": len(found), "gallery": len(gallery_names), **_unread(asked, offered)}
    if query.labelled[asked.rows].any() and gallery.labelled[offered.rows].any():
        weights = dict(zip(SCORE_WEIGHTS, args.score_weights, strict=True))
        numbers |= _measured(query, gallery, asked, offered, weights)
        write_json(args.out / "retrieval.json", numbers)
    print(json.dumps(numbers))
    print(f"retrieved: {args.out / 'retrieved.json'}", file=sys.stderr)
    return Exit.OK


def _unread(asked: Embedded, offered: Embedded) -> dict:
    """Pictures that could not be read, by reason: they are in no list, and nobody should wonder where they went."""
    reasons = Counter([*asked.rejected.values(), *offered.rejected.values()])
    return {"unreadable": dict(sorted(reasons.items()))} if reasons else {}


def _measured(query: Samples, gallery: Samples, asked: Embedded, offered: Embedded, weights: dict[int, float]) -> dict[str, float]:
    known = query.labelled[asked.rows]
    return gallery_metrics(
        asked.image[known] @ offered.image.T, query.groups[asked.rows][known], gallery.groups[offered.rows], weights=weights
    )


if __name__ == "__main__":
    run_command(main)
