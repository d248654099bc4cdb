"""Mine the hard pairs of a data set from its embeddings.

hardpairs mine --dataset cc3m --save-path OUT --topk 50 --embeddings EMB
torchrun --nproc_per_node 2 -m hardpairs.cli mine --dataset cc3m --save-path OUT --embeddings EMB

Writes HELIP's files (OUT/cc3m_hard_sample.csv, OUT/cc3m_hard_sample_dict.json, OUT/url_index/ where
URLs are known) and OUT/cc3m_hard_pairs/, the same table memory-mapped, with scores and a manifest
that ties it to the data. The same command continues a killed run: its progress is in
OUT/.cc3m.work.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardpairs.cli.command_line import parse_arguments
from hardpairs.compat import helip
from hardpairs.core.devices import choose_device
from hardpairs.core.errors import (
    Exit,
    bad_input,
    byte_count,
    flags,
    mismatch,
    usage,
    whole_number,
)
from hardpairs.core.lock import locked
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists, check_weights
from hardpairs.core.peers import add_peer_timeout
from hardpairs.core.remote import check_allowed
from hardpairs.mining.options import MiningOptions

if TYPE_CHECKING:
    from hardpairs.core.progress import Progress
    from hardpairs.core.ranks import Ranks
    from hardpairs.data.embeddings import Embeddings
    from hardpairs.data.hard_pairs import HardPairTable
    from hardpairs.mining.dataset import MinedDataset
    from hardpairs.mining.rescore import Rescoring

PROGRESS_VERSION = 5
"""Changes with the names and arrays of unfinished work."""
HELD = ("shared", "ring")
"""Where several processes have the rows, see ``hardpairs.mining.api.Execution``."""
FLAGS = {
    field.name: field.metadata["flag"] or "--" + field.name.replace("_", "-")
    for field in dataclasses.fields(MiningOptions)
}
"""The flag of each option."""
FILTERS = [*FLAGS][: [*FLAGS].index("top_k")]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="hardpairs mine", description="Mine the hard pairs of a data set.")
    parser.add_argument(
        "--dataset", required=True, help="name of the data set; names the output files"
    )
    parser.add_argument("--save-path", required=True, help="output folder")
    _add_sources(
        parser.add_argument_group(
            "embeddings (default: those of --dataset, from datasets.yaml or $HARDPAIRS_DATA)"
        )
    )
    _add_rescoring(parser.add_argument_group("a second model"))
    filters = parser.add_argument_group("filters (cosines, and scores in [0, 1])")
    for field in dataclasses.fields(MiningOptions):
        _add_option(filters if field.name in FILTERS else parser, field)
    parser.add_argument(
        "--reject", help="rows to leave out, as saved on the page of hardpairs inspect pairs"
    )
    parser.add_argument(
        "--max-memory", type=byte_count, help="such as 8G; default half of what is free"
    )
    parser.add_argument(
        "--max-device-memory",
        type=byte_count,
        help="of a GPU, such as 8G; default nine tenths of what is free. Rows for which there is "
        "no room wait in the host's memory",
    )
    parser.add_argument(
        "--rows",
        choices=HELD,
        help="where several processes have the unit vectors: in one file in --save-path, or in a "
        "ring: each has its share, and the others' come by (default: in a ring where all of them "
        "do not fit into --max-memory)",
    )
    parser.add_argument(
        "--commit-seconds",
        type=float,
        default=30.0,
        help="seconds between commits of unfinished work (default: %(default)s)",
    )
    parser.add_argument("--device", help="default: cuda where there is one, otherwise cpu")
    add_peer_timeout(parser)
    args = parse_arguments(parser, "mine", argv)
    _check_sources(args)
    _check(args)
    return args


def _add_sources(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--embeddings",
        help="folder written by hardpairs embed or clip-retrieval, or a parquet file with two "
        "columns of vectors",
    )
    for name in ("image", "text"):
        group.add_argument(
            f"--{name}-embeddings", help=".npy, or PATH.parquet:COLUMN; rows as in the data set"
        )
    group.add_argument(
        "--allow-remote", action="store_true", help="read embeddings that are behind URLs"
    )
    group.add_argument(
        "--model", help="OpenCLIP model, or local-dir:FOLDER, to embed the data set's shards with"
    )
    group.add_argument("--pretrained", help="its checkpoint file or OpenCLIP tag")
    group.add_argument(
        "--start-tar", type=whole_number(0), help="first tar to embed, by its number"
    )
    group.add_argument("--end-tar", type=whole_number(0), help="last tar to embed")


def _add_rescoring(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--rescore",
        metavar="FOLDER",
        help="embeddings of the same data by a second model, which chooses among the pairs that "
        "the first one proposes: filters, ranks and scores are the second one's",
    )
    group.add_argument(
        "--rescore-candidates",
        type=whole_number(1),
        metavar="N",
        help="pairs of each row that the first one proposes (default: four times the ranks that "
        "are listed or skipped)",
    )


def _add_option(
    group: argparse.ArgumentParser | argparse._ArgumentGroup, field: dataclasses.Field[Any]
) -> None:
    """Add the flag of one option of mining, with its type, default, choices and help."""
    flag, facts = FLAGS[field.name], field.metadata
    if field.type == "bool":
        group.add_argument(flag, dest=field.name, action="store_true", help=facts["help"])
        return
    default = "" if field.default is None else " (default: %(default)s)"
    kind: Any = str
    if str(field.type).startswith("float"):
        kind = float
    elif str(field.type).startswith("int"):
        kind = whole_number(facts["minimum"])
    group.add_argument(
        flag,
        dest=field.name,
        type=kind,
        default=field.default,
        choices=facts["choices"] or None,
        metavar=None if facts["choices"] else "N" if kind is not float else "X",
        help=facts["help"] + default,
    )


def _check_sources(args: argparse.Namespace) -> None:
    given = [
        args.embeddings is not None,
        args.image_embeddings is not None or args.text_embeddings is not None,
        args.model is not None,
    ]
    if sum(given) > 1 or (args.image_embeddings is None) != (args.text_embeddings is None):
        raise usage(
            "give either --embeddings, or both --image-embeddings and --text-embeddings, or "
            "--model and --pretrained",
            fix="hardpairs embed makes them",
        )
    if args.pretrained is not None and args.model is None:
        raise usage("--pretrained names the weights of --model", fix="give both, or leave it out")
    if (args.start_tar is not None or args.end_tar is not None) and (given[0] or given[1]):
        raise usage(
            "--start-tar and --end-tar choose shards to embed; these embeddings exist already",
            fix="leave them out",
        )


def _check(args: argparse.Namespace) -> None:
    if not re.fullmatch(r"[\w.-]+", args.dataset):
        raise usage(
            f"--dataset names files: letters, digits, '.', '_' and '-', not {args.dataset!r}"
        )
    if args.duplicate_threshold > 2:
        raise usage(f"--duplicate-threshold must be at most 2, not {args.duplicate_threshold}")
    if not args.commit_seconds >= 0:
        raise usage(f"--commit-seconds must be 0 or more, not {args.commit_seconds}")
    if args.rescore_candidates is not None and args.rescore is None:
        raise usage("--rescore-candidates needs --rescore, the second model's embeddings")
    parents = (Path(args.save_path), *Path(args.save_path).absolute().parents)
    existing = next(path for path in parents if path.exists())
    if not existing.is_dir():
        raise usage(
            "--save-path is no folder, and none can be made there",
            where=str(existing),
            fix="name another",
        )


def _check_paths(args: argparse.Namespace) -> None:
    given = args.embeddings, args.rescore, args.image_embeddings, args.text_embeddings
    for name in filter(None, given):
        check_allowed(name, allow_remote=args.allow_remote)
    if args.embeddings:
        check_exists(args.embeddings, "folder")
    if args.rescore:
        check_exists(args.rescore, "folder")
    for name in filter(None, (args.image_embeddings, args.text_embeddings)):
        check_exists(name if os.path.exists(name) else re.sub(r"(\.parquet):.*$", r"\1", name))
    if args.reject:
        check_exists(args.reject)
    check_weights(args.pretrained)
    if not (args.embeddings or args.image_embeddings):
        from hardpairs.data.datasets import find_dataset

        dataset = find_dataset(args.dataset)
        all_tars = args.start_tar is None and args.end_tar is None
        if dataset.shards and not args.model and not (dataset.embeddings and all_tars):
            helip.encoders()  # says what is not installed


def mining_options(args: argparse.Namespace) -> MiningOptions:
    """Return the options of mining that the command line gives.

    Raises:
        UserError: Exit 2 for values that make no sense, alone or together.
    """
    try:
        return MiningOptions(**{name: getattr(args, name) for name in FLAGS})
    except ValueError as error:
        with flags(**FLAGS):
            raise usage(str(error)) from None


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parse_args(argv)
    options = mining_options(args)
    _check_paths(args)
    device = choose_device(args.device)
    if args.max_device_memory is not None and device == "cpu":
        raise usage("--max-device-memory is for GPUs", fix="give --max-memory for the CPU")
    from hardpairs.core.ranks import join

    ranks = join(args.peer_timeout)
    with contextlib.ExitStack() as stack:
        if ranks.rank == 0:
            lock = Path(args.save_path) / f".{args.dataset}.lock"
            stack.enter_context(locked(lock, f"the hard pairs of {args.dataset}"))
        _mine(args, options, device, ranks)
    ranks.close()
    return Exit.OK


def _mine(args: argparse.Namespace, options: MiningOptions, device: str, ranks: Ranks) -> None:
    from hardpairs.data.rejects import read_rejects
    from hardpairs.mining.api import Execution
    from hardpairs.mining.dataset import mine_dataset, write_mined
    from hardpairs.mining.rescore import Rescoring

    folder = args.embeddings
    if not folder and not args.image_embeddings:
        folder = _embed_dataset(args, device, ranks)
    embeddings = ranks.first_alone(lambda: _open(args, folder))
    if not len(embeddings.rows):
        raise bad_input("there are no embeddings", where=args.embeddings or args.image_embeddings)
    reject = {}
    if args.reject:
        size, fingerprint = embeddings.num_samples, embeddings.fingerprint
        reject = read_rejects(args.reject, num_samples=size, fingerprint=fingerprint)
    rescoring = None
    if args.rescore:
        second = ranks.first_alone(lambda: _open(args, args.rescore))
        rescoring = Rescoring(second, args.rescore_candidates or 4 * options.depth)
    progress = _progress(args, options, embeddings, reject, rescoring, ranks)
    execution = Execution(
        device,
        args.max_memory,
        args.max_device_memory,
        progress=progress,
        ranks=ranks,
        verbose=True,
        held=args.rows,
    )
    with flags(vars(args), held="--rows", **FLAGS):
        mined = mine_dataset(
            embeddings, options, reject=reject, rescoring=rescoring, execution=execution
        )
    if mined is not None:
        table = write_mined(args.save_path, args.dataset, mined, embeddings, options, rescoring)
        _report(mined, table, Path(args.save_path) / f"{args.dataset}_hard_sample.csv")
    ranks.barrier()  # before it, the result is in the folder of unfinished work
    progress.remove()


def _progress(
    args: argparse.Namespace,
    options: MiningOptions,
    embeddings: Embeddings,
    reject: dict[int, str],
    rescoring: Rescoring | None,
    ranks: Ranks,
) -> Progress:
    """Return the folder of unfinished work, which belongs to these options and embeddings.

    Machines may have a folder of this name each: the first process of each machine owns it.
    """
    from hardpairs.core.progress import Progress
    from hardpairs.data.remote_rows import is_remote
    from hardpairs.mining.dataset import content_hash

    def recipe() -> dict[str, Any]:
        return {
            "options": options.for_manifest(),
            "embeddings": content_hash(embeddings),
            "processes": ranks.world_size,
            "version": PROGRESS_VERSION,
            **({"rows": args.rows} if args.rows else {}),
            **({"reject": sorted(reject)} if reject else {}),
            **({"rescored": _identity(rescoring)} if rescoring else {}),
        }

    progress = Progress(
        Path(args.save_path) / f".{args.dataset}.work",
        recipe if ranks.world_size == 1 else ranks.of_first(recipe),
        kind="hard pairs",
        every=args.commit_seconds,
        owner=ranks.is_first_of_machine,
    )
    of_all = [embeddings, *([rescoring.embeddings] if rescoring else [])]
    remote = any(is_remote(side) for each in of_all for side in (each.image, each.text))

    def begin() -> None:
        progress.begin(discard=True)
        if remote:
            progress.claim()  # which checks the files, before they are searched

    ranks.first_alone(begin)  # nobody writes into what is removed
    return progress


def _identity(rescoring: Rescoring) -> list[Any]:
    from hardpairs.mining.dataset import content_hash

    return [content_hash(rescoring.embeddings), rescoring.candidates]


def _open(args: argparse.Namespace, folder: str | None) -> Embeddings:
    import numpy as np

    from hardpairs.data.columns import is_column, load_column
    from hardpairs.data.embedding_parts import load_array
    from hardpairs.data.embeddings import Embeddings, open_embeddings

    if folder:
        return open_embeddings(folder, verify=True, allow_remote=args.allow_remote)
    image, text = (
        load_column(name) if is_column(name) else load_array(name)
        for name in (args.image_embeddings, args.text_embeddings)
    )
    if len(image) != len(text):
        raise mismatch(
            f"{len(image)} image rows, {len(text)} text rows",
            where=f"{args.image_embeddings}, {args.text_embeddings}",
        )
    return Embeddings(image, text, np.arange(len(image)), len(image), {})


def _embed_dataset(args: argparse.Namespace, device: str, ranks: Ranks) -> str:
    """Return the folder of the named data set's embeddings; make them where they are missing."""
    from hardpairs.data.datasets import find_dataset, shards_between

    dataset = find_dataset(args.dataset)
    chosen = args.model, args.start_tar, args.end_tar
    if dataset.embeddings and chosen == (None, None, None):
        return dataset.embeddings
    if dataset.shards is None:
        raise bad_input(
            "the data set has neither shards nor embeddings",
            where=args.dataset,
            fix="name them in datasets.yaml",
        )
    from hardpairs.data.opening import open_samples
    from hardpairs.embedding.embed import embed_to_folder
    from hardpairs.models.encoders import open_encoders

    chosen_encoders: dict[str, Any] = (
        {"model": args.model, "pretrained": args.pretrained} if args.model else helip.encoders()
    )
    out = str(Path(args.save_path) / f"{args.dataset}_embeddings")
    shards, device = (
        shards_between(dataset.shards, args.start_tar, args.end_tar),
        ranks.device(device),
    )
    samples = ranks.first_alone(lambda: open_samples(shards))
    encoders = open_encoders(**chosen_encoders, device=device, captions=samples.captions)
    embed_to_folder(samples, encoders, out, device=device, quiet=ranks.rank > 0)
    return out


def _report(mined: MinedDataset, table: HardPairTable, csv: Path) -> None:
    """Print the counts to stderr and the table's numbers to stdout."""
    from hardpairs.mining.pair_statistics import summary

    numbers, counts, rejected = summary(table), mined.result.removed, mined.rejected
    if not numbers["rows_with_pairs"]:
        emptied = counts.get("noise_rule")
        print(
            f"warning: no row has a hard pair; --noise-rule paper removed {emptied} pairs, because "
            "no list is full: a smaller --topk"
            if emptied
            else "warning: no row has a hard pair; a model whose embeddings are all alike makes "
            "every pair a near duplicate",
            file=sys.stderr,
        )
    removed = ", ".join(f"{name} {count}" for name, count in counts.items())
    print(
        f"{mined.result.counts['candidates']} candidates = {mined.result.kept} kept + "
        f"{sum(counts.values())} removed ({removed})",
        file=sys.stderr,
    )
    if mined.result.recall is not None:
        print(mined.result.recall.text(), file=sys.stderr)
    if rejected:
        reasons = dict(sorted(Counter(rejected.values()).items()))
        print(f"{len(rejected)} rows left out {reasons}", file=sys.stderr)
    print(json.dumps(numbers))
    print(f"hard pairs: {csv}", file=sys.stderr)
