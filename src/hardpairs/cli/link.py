"""Links near duplicates: clusters by single linkage on images, texts or both, with the threshold chosen on labels of their own.

    python -m tools.link --embeddings EMB --data news.csv --csv-label-key label --opt-im-wt --out linked --html linked/clusters.html
    python -m tools.link --embeddings EMB --threshold 0.23 --im-wt 0.76 --out linked
    python -m tools.link --data news.csv --csv-label-key label --model ViT-B-32 --pretrained 'logs/x/checkpoints/*.pt' --out linked

Labels are split in two, disjoint by label: the threshold (and the image's weight) is the best on the first part, and what is reported comes
from the second. Writes OUT/clusters.csv (row, key, cluster), OUT/linkage.json and OUT/cuts.csv (ARI at every cut). Several checkpoints make a
table, and the best by the first part's labels is taken. With ``--reference`` each row is linked to its nearest rows of another folder instead:
OUT/links.csv.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import Exit, bad_input, mismatch, usage, whole_number
from hardpairs.data.embeddings import Embeddings, open_embeddings
from hardpairs.data.manifest import check_same_dataset, sha256_file
from hardpairs.data.samples import Samples
from hardpairs.linking.choose import (
    COLLAPSED,
    Choice,
    Rows,
    best_of_weights,
    choose,
    mean_cosine,
    others,
    score_of,
    split_by_label,
)
from hardpairs.linking.reference import check_same_weights, link_to_reference
from hardpairs.models.head import EmbeddingHead, changes_space, load_head


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs link", description="Link near duplicates by image and text."
    )
    parser.add_argument("--out", type=Path, required=True)
    _add_input(
        parser.add_argument_group("what is linked (--embeddings, or --model to embed --data with)")
    )
    _add_choice(parser.add_argument_group("how"))
    _add_reference(
        parser.add_argument_group("nearest neighbours in a reference list, instead of clusters")
    )
    args = parse_arguments(parser, "link", argv)
    _check(args)
    return args


def _add_input(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--embeddings", help="folder of mining.embed or clip-retrieval")
    group.add_argument(
        "--data", help="CSV, shards or a folder of class folders: labels, names and pictures"
    )
    group.add_argument("--model", help="OpenCLIP model")
    group.add_argument(
        "--pretrained",
        "--checkpoints",
        "--checkpoint_path",
        "--checkpoint",
        help="its weights; a glob tries all and takes the best",
    )
    group.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add_data_flags(group)


def _add_choice(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--im-wt",
        "--im_wt",
        type=float,
        help="the image's weight: 1 images alone, 0 texts alone; default: that of the checkpoint's pooling head, else 0.5",
    )
    group.add_argument(
        "--pooling-type",
        "--pooling_type",
        choices=("mean", "head", "mlp"),
        help="how picture and text become one: by weight, or by the checkpoint's head (mlp: CLIPPINGS' name for it); default: the head where it "
        "has layers",
    )
    group.add_argument(
        "--head", help="checkpoint with the head, where --embeddings were made by it"
    )
    group.add_argument(
        "--opt-im-wt", "--opt_im_wt", action="store_true", help="choose the weight, too"
    )
    group.add_argument(
        "--threshold",
        "--specified-thresh",
        "--specified_thresh",
        type=float,
        help="cosine distance; default: the best by label",
    )
    group.add_argument(
        "--val-share",
        type=float,
        default=0.4,
        help="share of the labels that the choice is made on",
    )
    group.add_argument(
        "--split-test-for-eval",
        "--split_test_for_eval",
        action="store_true",
        help="CLIPPINGS' name for what is done anyway",
    )
    group.add_argument("--seed", type=whole_number(0), default=42, help="of the split")
    group.add_argument(
        "--compare",
        action="store_true",
        help="also DBSCAN, average linkage and HDBSCAN, tuned on the same labels",
    )
    group.add_argument(
        "--html",
        type=Path,
        help="a page of clusters as pictures, and of the pairs nearest the threshold; needs --data",
    )


def _add_reference(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--reference", help="folder of embeddings to link to")
    group.add_argument("--reference-data", help="what they were made of: labels and names")
    group.add_argument("--k", type=whole_number(1), default=1)


def _check(args: argparse.Namespace) -> None:
    if bool(args.embeddings) == bool(args.model):
        raise usage(
            "give either --embeddings, or --model and --data",
            fix="python -m mining.embed makes embeddings",
        )
    if args.model and not args.data:
        raise usage("--model needs --data to embed")
    if args.head and args.pooling_type == "mean":
        raise usage("--head and --pooling-type mean contradict each other")
    if args.html and not args.data:
        raise usage("--html shows pictures, and nothing says where they are", fix="--data")
    if args.im_wt is not None and not 0 <= args.im_wt <= 1:
        raise usage(f"--im-wt must be in [0, 1], not {args.im_wt}")
    if not 0 < args.val_share < 1:
        raise usage(f"--val-share must be between 0 and 1, not {args.val_share}")
    if args.threshold is not None and (args.opt_im_wt or not 0 <= args.threshold <= 2):
        raise usage(
            "--threshold is a cosine distance from 0 to 2, and goes with a weight that is given",
            fix="leave --opt-im-wt out",
        )
    given = {
        "--opt-im-wt": args.opt_im_wt,
        "--compare": args.compare,
        "--threshold": args.threshold is not None,
        "--html": args.html,
    }
    idle = [flag for flag, value in given.items() if value]
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
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    samples = open_named(args.data, args) if args.data else None
    if args.reference:
        head = _head(args, args.pretrained)
        ours = _embedded(args, samples, args.pretrained, head)
        numbers = link_to_reference(
            args, ours, samples, head, image_weight=_image_weight(args, args.pretrained)
        )
    else:
        numbers = _cluster(args, samples, shlex.join(["python", "-m", "tools.link", *argv]))
    print(json.dumps(numbers))
    return Exit.OK


@dataclass(frozen=True)
class Linked:
    """What one checkpoint (or a folder of embeddings) gives: rows, where they are cut, their clusters, and the numbers."""

    rows: Rows
    choice: Choice
    clusters: np.ndarray
    numbers: dict


def _cluster(args: argparse.Namespace, samples: Samples | None, command: str) -> dict:
    """Clusters of the best of all checkpoints; what is reported of each comes from labels that it was not chosen by."""
    names = _checkpoints(args.pretrained)
    if len(names) > 1 and samples is not None and not samples.labelled.any():
        raise usage(
            "without labels nothing says which checkpoint is good",
            where=args.pretrained,
            fix="--csv-label-key, or one checkpoint",
        )
    best, chosen, tried = None, None, {}
    for name in names:
        found = _linked(args, samples, name)
        if name:
            tried[name] = {
                key: found.numbers[key]
                for key in ("validation_ari", "threshold", "image_weight", "test")
            }
        if best is None or found.choice.validation_ari > best.choice.validation_ari:
            best, chosen = found, name
    assert best is not None
    if len(names) > 1:
        print(_table(tried, chosen), file=sys.stderr)
    record = {**best.numbers, "checkpoint": chosen, "checkpoints": tried, "command": command}
    if args.compare:
        record["others"] = others(
            best.rows, best.choice, *split_by_label(best.rows.labels, args.val_share, args.seed)
        )
    _write(args.out, best.rows, best.clusters, best.choice, record)
    if args.html and samples is not None:
        from hardpairs.linking.page import link_page
        from hardpairs.pages.template import render_template

        page = link_page(best.rows, best.clusters, best.choice, record, samples)
        write_text(args.html, render_template("links.html.j2", page=page))
        print(f"page: {args.html}", file=sys.stderr)
    return {
        name: value for name, value in record.items() if name not in ("weights_tried", "command")
    }


def _linked(args: argparse.Namespace, samples: Samples | None, weights: str | None) -> Linked:
    head = _head(args, weights)
    rows = Rows.of(_embedded(args, samples, weights, head), samples, head)
    if len(rows.numbers) < 2:
        raise bad_input(
            "one embedding: there is nothing to link it to",
            where=args.embeddings or args.data,
            fix="--reference",
        )
    validation, test = split_by_label(rows.labels, args.val_share, args.seed)
    choice = _chosen(args, rows, validation, weights)
    alike = mean_cosine(rows.pooled(choice.image_weight))
    if alike > COLLAPSED:
        print(
            f"warning: rows have a mean cosine of {alike:.5f}: the model gives almost the same for all of them",
            file=sys.stderr,
        )
    clusters = choice.tree.labels(choice.threshold)
    numbers = {
        "threshold": choice.threshold,
        "plateau": choice.plateau,
        "image_weight": choice.image_weight if rows.joint is None else "head",
        "validation_ari": choice.validation_ari,
        "test": score_of(rows, test, clusters),
        "all": score_of(rows, rows.labels, clusters),
        "weights_tried": {f"{weight:.4f}": ari for weight, ari in choice.tried.items()},
    }
    return Linked(rows, choice, clusters, numbers)


def _table(tried: dict[str, dict], chosen: str | None) -> str:
    """Checkpoints side by side; only the validation labels choose among them."""
    lines = [
        "| checkpoint | validation ARI | test ARI | threshold | image weight | |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in tried.items():
        weight = found["image_weight"]
        shown = weight if isinstance(weight, str) else f"{weight:.2f}"
        numbers = f"{found['validation_ari']:.4f} | {found['test'].get('ari', float('nan')):.4f} | {found['threshold']:.3f} | {shown}"
        lines.append(f"| {name} | {numbers} | {'best by validation' if name == chosen else ''} |")
    return "\n".join(lines)


def _chosen(
    args: argparse.Namespace, rows: Rows, validation: np.ndarray, weights: str | None
) -> Choice:
    counts = np.unique(validation[validation >= 0], return_counts=True)[1]
    if args.threshold is None and (len(counts) < 2 or counts.max() < 2):
        raise bad_input(
            f"{len(counts)} labels of {counts.sum()} rows to choose a threshold by: it takes two, one of them of two rows",
            where=args.data or args.embeddings,
            fix="--csv-label-key, more labels (--val-share), or --threshold",
        )
    if not args.opt_im_wt:
        return choose(rows, validation, _image_weight(args, weights), args.threshold)
    return best_of_weights(rows, validation)


def _image_weight(args: argparse.Namespace, weights: str | None) -> float:
    """The image's weight as it is given, else as a checkpoint's pooling head has it, else 0.5."""
    if args.im_wt is not None:
        return args.im_wt
    place = args.head or weights
    head = (
        load_head(place) if args.pooling_type is None and place and os.path.isfile(place) else None
    )
    if head is None or head.kind != "pooled":
        return 0.5
    weight = float(
        head.weight_logit.detach().sigmoid() if head.options["learned"] else head.image_weight
    )
    print(f"{place}: its head gives the image a weight of {weight:.3f}", file=sys.stderr)
    return weight


def _head(args: argparse.Namespace, weights: str | None) -> EmbeddingHead | None:
    """The head to link by: asked for, or in the checkpoint with layers of its own.

    Raises:
        UserError: exit 2 when one is asked for and there is none, or a weight is to be chosen that it has no use for.
    """
    place = args.head or weights
    found = (
        load_head(place)
        if args.pooling_type != "mean" and place and os.path.isfile(place)
        else None
    )
    if args.pooling_type in ("head", "mlp") and found is None:
        raise usage(
            "no checkpoint with a head is given",
            where=place or "--embeddings",
            fix="--head CHECKPOINT, or --pooling-type mean",
        )
    asked = args.pooling_type is not None or args.head is not None
    head = found if found is not None and (asked or changes_space(found)) else None
    if head is not None and args.opt_im_wt:
        raise usage(
            "a head has weighed picture and text already",
            where=place,
            fix="--pooling-type mean, or leave --opt-im-wt out",
        )
    return head


def _checkpoints(pattern: str | None) -> list[str | None]:
    if pattern is None or not any(sign in pattern for sign in "*?["):
        return [pattern]
    from glob import glob

    found = sorted(glob(pattern))
    if not found:
        raise usage("no checkpoint matches", where=pattern)
    return list(found)


def _embedded(
    args: argparse.Namespace,
    samples: Samples | None,
    weights: str | None,
    head: EmbeddingHead | None,
) -> Embeddings:
    if args.embeddings:
        embeddings = open_embeddings(args.embeddings, verify=True)
        place = args.head or weights
        if head is not None and place:
            check_same_weights(
                f"sha256:{sha256_file(place)}",
                embeddings,
                ours_name=place,
                theirs_name=args.embeddings,
            )
        if samples is not None:
            if embeddings.num_samples != len(samples):
                raise mismatch(
                    f"{embeddings.num_samples} embedded rows, {len(samples)} in the data",
                    where=f"{args.embeddings}, {args.data}",
                )
            if embeddings.fingerprint:
                check_same_dataset(
                    samples.fingerprint,
                    embeddings.fingerprint,
                    ours_name=args.data,
                    theirs_name=args.embeddings,
                )
        return embeddings
    from hardpairs.embedding.embed import embed
    from hardpairs.models.encoders import open_encoders

    assert samples is not None
    encoders = open_encoders(
        model=args.model, pretrained=weights, device=args.device, captions=samples.captions
    )
    made = embed(samples, encoders, device=args.device)
    manifest = {"dataset_fingerprint": samples.fingerprint, **encoders.description}
    return Embeddings(made.image, made.text, made.rows, len(samples), manifest)


def _write(out: Path, rows: Rows, labels: np.ndarray, choice: Choice, record: dict) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["row", "key", "cluster"])
    writer.writerows(zip(rows.numbers.tolist(), rows.keys, labels.tolist(), strict=True))
    write_text(out / "clusters.csv", text.getvalue())
    if choice.surface:
        lines = [
            f"{weight:.4f},{threshold:.9g},{ari:.9g}"
            for weight, cuts in choice.surface.items()
            for threshold, ari in zip(cuts.thresholds, cuts.ari, strict=True)
        ]
        write_text(out / "surface.csv", "\n".join(["image_weight,threshold,ari", *lines]) + "\n")
    if choice.cuts is not None:
        columns = ("thresholds", "clusters", "ari", "precision", "recall")
        table = np.stack(
            [getattr(choice.cuts, name).astype(np.float64) for name in columns], axis=1
        )
        lines = [",".join(columns), *(",".join(f"{value:.9g}" for value in line) for line in table)]
        write_text(out / "cuts.csv", "\n".join(lines) + "\n")
    write_json(out / "linkage.json", record)
