"""Mines the hard pairs of a dataset from its embeddings.

    python -m mining.hard_pair_mining --dataset cc3m --save_path OUT --topk 50 --embeddings EMB
    torchrun --nproc_per_node 2 -m mining.hard_pair_mining --dataset cc3m --save_path OUT --embeddings EMB

Writes HELIP's files (OUT/cc3m_hard_sample.csv, OUT/cc3m_hard_sample_dict.json, OUT/url_index/ where URLs are known) and OUT/cc3m_hard_pairs/, the same table memory-mapped,
with scores and a manifest that ties it to the data. Killed anywhere, the same command goes on: unfinished work is in OUT/.cc3m.work.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.errors import Exit, bad_input, mismatch, usage, whole_number
from hardpairs.core.ranks import Ranks, join
from hardpairs.data.columns import load_column
from hardpairs.data.datasets import find_dataset, shards_between
from hardpairs.data.embeddings import Embeddings, load_array, open_embeddings
from hardpairs.data.hard_pairs import table_folder, write_helip, write_table
from hardpairs.data.rejects import read_rejects
from hardpairs.data.samples import open_samples
from hardpairs.data.url_index import write_url_index
from hardpairs.mining.filters import METHODS
from hardpairs.mining.mine import Mined, Options, content_hash, mine, statistics
from hardpairs.mining.work import COMMIT_SECONDS, Work


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs mine", description="Mine the hard pairs of a dataset."
    )
    parser.add_argument(
        "--dataset", required=True, help="name of the dataset; names the output files"
    )
    parser.add_argument("--save_path", "--save-path", required=True, help="output folder")
    _add_sources(
        parser.add_argument_group(
            "embeddings (default: those of --dataset, from datasets.yaml or $HARDPAIRS_DATA)"
        )
    )
    parser.add_argument("--topk", type=whole_number(1), default=Options.topk)
    parser.add_argument(
        "--mining_method", "--mining-method", choices=METHODS, default=Options.mining_method
    )
    parser.add_argument(
        "--approx", type=whole_number(1), help="search in a seeded random pool of this many rows"
    )
    parser.add_argument("--seed", type=whole_number(0), default=Options.seed)
    _add_filters(parser.add_argument_group("filters (cosines, and scores in [0, 1])"))
    parser.add_argument(
        "--drop-nonfinite",
        action="store_true",
        help="leave rows with NaN or infinity out instead of stopping",
    )
    parser.add_argument(
        "--reject", help="rows to leave out, as saved on the page of tools.inspect_pairs"
    )
    parser.add_argument(
        "--max-memory", type=_byte_count, help="such as 8G; default half of what is free"
    )
    parser.add_argument(
        "--commit-seconds",
        type=float,
        default=COMMIT_SECONDS,
        help="time between commits of unfinished work",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parse_arguments(parser, "mine", argv)
    _check_sources(args)
    if not re.fullmatch(r"[\w.-]+", args.dataset):
        raise usage(
            f"--dataset names files: letters, digits, '.', '_' and '-', not {args.dataset!r}"
        )
    if not 0 < args.duplicate_threshold <= 2 or not -1 <= args.similarity_floor <= 1:
        raise usage("--duplicate-threshold must lie in (0, 2], --similarity-floor in [-1, 1]")
    if not args.commit_seconds >= 0:
        raise usage(f"--commit-seconds must be 0 or more, not {args.commit_seconds}")
    place = next(
        place
        for place in (Path(args.save_path), *Path(args.save_path).absolute().parents)
        if place.exists()
    )
    if not place.is_dir():
        raise usage(
            "--save_path is no folder, nor can one be made there",
            where=str(place),
            fix="name another",
        )
    return args


def _add_sources(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--embeddings",
        help="folder written by mining.embed or clip-retrieval, or a parquet file with two columns of vectors",
    )
    group.add_argument(
        "--image-embeddings", help=".npy, or PATH.parquet:COLUMN; rows as in the dataset"
    )
    group.add_argument(
        "--text-embeddings", help=".npy, or PATH.parquet:COLUMN; rows as in the dataset"
    )
    group.add_argument("--model", help="OpenCLIP model to embed the dataset's shards with")
    group.add_argument("--pretrained", help="its checkpoint file or OpenCLIP tag")
    group.add_argument(
        "--start_tar", "--start-tar", type=whole_number(0), help="first tar to embed, by its number"
    )
    group.add_argument("--end_tar", "--end-tar", type=whole_number(0), help="last tar to embed")


def _add_filters(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--duplicate-threshold", type=float, default=Options.duplicate_threshold)
    group.add_argument(
        "--similarity-floor",
        type=float,
        default=Options.similarity_floor,
        help="a factor below it counts as 0",
    )
    for which, what in (
        ("", "the score"),
        ("image-", "the image similarity"),
        ("text-", "the text similarity"),
    ):
        group.add_argument(
            f"--max-{which}score", type=float, help=f"leave out pairs where {what} is above it"
        )
        group.add_argument(
            f"--min-{which}score", type=float, help=f"leave out pairs where {what} is below it"
        )
    group.add_argument(
        "--absolute-margin",
        type=float,
        help="leave out j where x_i.y_j or y_i.x_j > x_i.y_i - margin (one space only)",
    )
    group.add_argument(
        "--relative-margin",
        type=float,
        help="leave out j where x_i.y_j or y_i.x_j > (1 - margin) x_i.y_i (one space only)",
    )
    group.add_argument(
        "--range-min",
        type=whole_number(0),
        default=Options.range_min,
        help="first rank to list, from 0, after all filters",
    )
    group.add_argument("--range-max", type=whole_number(1), help="first rank not to list any more")
    group.add_argument(
        "--image-weight",
        type=float,
        default=Options.image_weight,
        help="w in score = image^(2w) * text^(2 - 2w)",
    )
    group.add_argument("--noise-rule", choices=("none", "paper"), default=Options.noise_rule)


def _check_sources(args: argparse.Namespace) -> None:
    given = [
        args.embeddings is not None,
        args.image_embeddings is not None or args.text_embeddings is not None,
        args.model is not None,
    ]
    if sum(given) > 1 or (args.image_embeddings is None) != (args.text_embeddings is None):
        raise usage(
            "give either --embeddings, or both --image-embeddings and --text-embeddings, or --model and --pretrained",
            fix="python -m mining.embed makes them",
        )
    if args.pretrained is not None and args.model is None:
        raise usage("--pretrained names the weights of --model", fix="give both, or leave it out")
    if (args.start_tar is not None or args.end_tar is not None) and (given[0] or given[1]):
        raise usage(
            "--start_tar and --end_tar choose shards to embed; these embeddings are made already",
            fix="leave them out",
        )


def _byte_count(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"must be a size such as 800M or 8G, not {text!r}")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " "))


def _open(args: argparse.Namespace, folder: str | None) -> Embeddings:
    if folder:
        return open_embeddings(folder, verify=True)
    image, text = _load(args.image_embeddings), _load(args.text_embeddings)
    if len(image) != len(text):
        raise mismatch(
            f"{len(image)} image rows, {len(text)} text rows",
            where=f"{args.image_embeddings}, {args.text_embeddings}",
        )
    return Embeddings(image, text, np.arange(len(image)), len(image), {})


def _load(name: str) -> np.ndarray:
    return load_column(name) if ":" in name or name.endswith(".parquet") else load_array(name)


def _embeddings_of_name(args: argparse.Namespace, ranks: Ranks) -> str:
    """Folder of the named dataset's embeddings, made here by all ranks from its shards when ``--model`` says with what."""
    dataset = find_dataset(args.dataset)
    if (
        args.model is None
        and dataset.embeddings
        and args.start_tar is None
        and args.end_tar is None
    ):
        return dataset.embeddings
    if dataset.shards is None:
        raise bad_input(
            "the dataset has neither shards nor embeddings",
            where=args.dataset,
            fix="name them in datasets.yaml",
        )
    from hardpairs.compat.helip import cached_encoders
    from hardpairs.embedding.embed import embed_to_folder  # models take seconds to import
    from hardpairs.models.encoders import open_encoders

    encoders = (
        {"model": args.model, "pretrained": args.pretrained} if args.model else cached_encoders()
    )
    if encoders is None:
        raise bad_input(
            "the dataset is not embedded yet, and HELIP's encoders (DINOv2 ViT-S/14 with registers, all-mpnet-base-v2) are not on disk",
            where=dataset.shards,
            fix="embed with an OpenCLIP model: --model M --pretrained P here; or with any others, python -m mining.embed --image-encoder E "
            "--text-encoder T; or give --embeddings, or --image-embeddings and --text-embeddings",
        )
    out = str(Path(args.save_path) / f"{args.dataset}_embeddings")
    shards, device = (
        shards_between(dataset.shards, args.start_tar, args.end_tar),
        ranks.device(args.device),
    )
    samples = ranks.first_alone(lambda: open_samples(shards))
    embed_to_folder(
        samples,
        open_encoders(**encoders, device=device, captions=samples.captions),
        out,
        device=device,
        ranks=ranks,
    )
    return out


def _check_device(device: str) -> None:
    if device != "cpu":
        from hardpairs.models.load import check_device

        check_device(device)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    _check_device(args.device)
    ranks = join()
    folder = (
        args.embeddings
        if args.embeddings or args.image_embeddings
        else _embeddings_of_name(args, ranks)
    )
    embeddings = ranks.first_alone(lambda: _open(args, folder))
    if not len(embeddings.rows):
        raise bad_input("there are no embeddings", where=args.embeddings or args.image_embeddings)
    reject = {}
    if args.reject:
        reject = read_rejects(
            args.reject, num_samples=embeddings.num_samples, fingerprint=embeddings.fingerprint
        )
    options = Options(**{name: getattr(args, name) for name in Options.__dataclass_fields__})
    work = Work(
        Path(args.save_path) / f".{args.dataset}.work",
        lambda: {
            "options": vars(options),
            "embeddings": content_hash(embeddings),
            "processes": ranks.world_size,
            **({"reject": sorted(reject)} if reject else {}),
        },
        every=args.commit_seconds,
        writer=ranks.rank == 0,
    )
    mined = mine(
        embeddings,
        options,
        device=args.device,
        max_memory=args.max_memory,
        work=work,
        ranks=ranks,
        verbose=True,
        reject=reject,
    )
    if mined is not None:
        _write(args, options, embeddings, mined)
        work.remove()
    ranks.close()
    return Exit.OK


def _write(
    args: argparse.Namespace, options: Options, embeddings: Embeddings, mined: Mined
) -> None:
    manifest = {
        "kind": "hard_pairs",
        "dataset": args.dataset,
        "dataset_fingerprint": embeddings.fingerprint,
        "embeddings": {
            key: embeddings.manifest.get(key)
            for key in ("model", "weights", "preprocess", "sha256")
        },
        "options": vars(options),
        "counts": mined.counts,
        "rejected": {str(row): reason for row, reason in sorted(mined.rejected.items())},
    }
    table = write_table(
        table_folder(args.save_path, args.dataset), mined.indices, mined.scores, manifest
    )
    write_helip(args.save_path, args.dataset, table)
    if embeddings.urls is not None and any(url.as_py() for url in embeddings.urls):
        urls = (url.as_py() or "" for url in embeddings.urls)
        write_url_index(
            args.save_path, args.dataset, zip(urls, embeddings.rows.tolist(), strict=True)
        )
    numbers = statistics(table)
    if not numbers["rows_with_pairs"]:
        print(
            "warning: no row has a hard pair; a model whose embeddings are all alike makes every pair a near duplicate",
            file=sys.stderr,
        )
    print(_told(mined), file=sys.stderr)
    if mined.rejected:
        print(
            f"{len(mined.rejected)} rows left out {dict(sorted(Counter(mined.rejected.values()).items()))}",
            file=sys.stderr,
        )
    print(json.dumps(numbers))
    print(f"hard pairs: {Path(args.save_path) / args.dataset}_hard_sample.csv", file=sys.stderr)


def _told(mined: Mined) -> str:
    """One line with what every filter removed."""
    removed = ", ".join(f"{name} {count}" for name, count in mined.removed.items())
    return f"{mined.counts['candidates']} candidates = {mined.kept} kept + {sum(mined.removed.values())} removed ({removed})"
