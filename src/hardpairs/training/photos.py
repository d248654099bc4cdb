"""Training on one's own captioned photographs: the flags for it, and what they become."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hardpairs.core.errors import usage
from hardpairs.data.image_folder import is_image_folder
from hardpairs.data.manifest import NAME, check_same_dataset
from hardpairs.data.near_duplicates import joined, look_alikes
from hardpairs.data.samples import Samples, open_samples
from hardpairs.data.splits import COSINE, LOOK, SEED, Split, image_numbers, open_split, split_into
from hardpairs.models.checkpoint import checkpoint_vocabulary, is_weights
from hardpairs.models.create import find_image_weights
from hardpairs.models.model_config import uses_words, vocabulary_of
from hardpairs.training.config import CAPTIONS_JSON
from hardpairs.training.data import open_table_or_folder, open_training_samples
from hardpairs.training.upstream import world_info


def fill_in_split(args: argparse.Namespace) -> None:
    """Make ``--train-data`` and ``--val-data`` of ``--captions-json``.

    Raises:
        UserError: exit 2 where they are given beside it, else as ``split_into``; exit 4 when the file was changed since it was split.
    """
    if args.captions_json is None:
        return
    if args.train_data or args.val_data:
        raise usage(
            "--captions-json is split into --train-data and --val-data, and one of them is given",
            fix="leave one out",
        )
    samples = open_samples(args.captions_json, image_root=args.image_root)
    split = _split(Path(args.logs) / "split", samples, args.image_root)
    args.train_data, args.val_data = str(split.table("train")), str(split.table("val"))
    args.dataset_type, args.csv_separator, args.csv_img_key, args.csv_caption_key = (
        "csv",
        ",",
        "filepath",
        "title",
    )


def _split(folder: Path, samples: Samples, image_root: str | None) -> Split:
    """The split that is there, however ``tools.split_pairs`` made it; a new one keeps pictures that look the same in one part."""
    stored = (
        open_split(folder).manifest
        if (folder / NAME).is_file()
        else {"seed": SEED, "near_duplicates": {LOOK: True}}
    )
    how = stored["near_duplicates"]

    def find_groups() -> np.ndarray:
        if COSINE in how:
            raise usage(
                "the pictures were moved, and the split used embeddings",
                where=str(folder),
                fix="tools.split_pairs with its flags makes it anew",
            )
        first = image_numbers(samples)[1]
        return joined(len(first), look_alikes(samples, first))

    options = {"image_root": image_root, "seed": stored["seed"], "duplicates": how}
    split = split_into(folder, samples, **options, find_groups=find_groups if how else None)
    if split.is_new and (together := split.manifest["kept_together"])["images"]:
        _tell(
            f"{folder}: {together['images']} pictures that look alike stay in one part, in {together['groups']} groups"
        )
    return split


def _tell(text: str) -> None:
    """Before there is a log: once, however many processes there are."""
    if world_info()[0] == 0:
        print(text, file=sys.stderr)


def is_for_our_reader(args: argparse.Namespace) -> bool:
    """Whether the training data is of a kind that OpenCLIP does not read: a captions.json, or a folder of pictures."""
    source = args.train_data or ""
    if getattr(args, "dataset_type", None) == CAPTIONS_JSON and not source.lower().endswith(
        ".json"
    ):
        raise usage(
            f"--dataset-type {CAPTIONS_JSON} is for a .json file",
            where=f"--train-data {source}",
            fix="check the path",
        )
    return source.lower().endswith(".json") or (bool(source) and is_image_folder(source))


def check_photos(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses, before any model is made, flags that have no effect, and a small model without weights or words."""
    start = args.pretrained or getattr(args, "resume", None)
    if args.image_weights is not None and args.pretrained:
        raise usage(
            f"--image-weights {args.image_weights} has no effect: all weights come from --pretrained",
            fix="leave one out",
        )
    find_image_weights(args.model, args.image_weights, fresh=not start)
    if args.vocabulary_from is not None and not uses_words(args.model):
        raise usage(
            f"--vocabulary-from has no effect: {args.model} reads no words but its own tokens",
            fix="leave it out",
        )
    if args.vocabulary_from is not None and args.pretrained:
        raise usage(
            "--vocabulary-from has no effect: the words come with --pretrained", fix="leave one out"
        )
    if args.vocabulary_from not in (None, "train") and not start:
        _captions(args)
    if args.warmup_epochs is not None and args.warmup_epochs < 0:
        raise usage(f"--warmup-epochs must not be negative, not {args.warmup_epochs}")
    if args.warmup_epochs is not None and args.warmup != parser.get_default("warmup"):
        raise usage(
            "--warmup and --warmup-epochs say the same in other units", fix="give one of them"
        )


def fill_in_warmup(
    parser: argparse.ArgumentParser, args: argparse.Namespace, batches_per_epoch: int
) -> None:
    """Makes ``--warmup``, which counts optimizer steps, of ``--warmup-epochs``; a ``--warmup`` beside a preset wins."""
    if args.warmup_epochs is not None and args.warmup == parser.get_default("warmup"):
        args.warmup = round(args.warmup_epochs * (batches_per_epoch // args.accum_freq))


def vocabulary_of_run(args: argparse.Namespace) -> list[str] | None:
    """Words of a model that reads words: those of the checkpoint that the run starts from, else of the captions that the flags name.

    ``None`` for a model with tokens of its own, and where there is neither.
    """
    if not uses_words(args.model):
        return None
    start = args.resume or (args.pretrained if is_weights(args.pretrained) else None)
    vocabulary = checkpoint_vocabulary(start) if start else None
    if vocabulary is None and args.train_data:
        vocabulary = vocabulary_of(args.model, _captions(args))
    return vocabulary


def _captions(args: argparse.Namespace) -> Iterable[str]:
    """Those that ``--vocabulary-from`` names.

    Raises:
        UserError: exit 2 for ``all`` where no split says what all is, exit 4 when that was changed since.
    """
    if args.vocabulary_from in (None, "train"):
        return open_training_samples(args).captions
    if args.vocabulary_from != "all":
        return open_table_or_folder(args.vocabulary_from, args).captions
    folder = Path(args.train_data).parent
    if not (folder / NAME).is_file():
        raise usage(
            "--vocabulary-from all: nothing beside the training data says what all is",
            where=str(folder),
            fix="train on a table of tools.split_pairs, or name the file of all captions: --vocabulary-from FILE",
        )
    split = open_split(folder)
    samples = open_samples(
        split.manifest["source"],
        image_key=args.csv_img_key,
        caption_key=args.csv_caption_key,
        image_root=split.manifest["image_root"],
    )
    check_same_dataset(
        samples.fingerprint,
        split.manifest["dataset_fingerprint"],
        ours_name=samples.source,
        theirs_name=f"the split {split.folder}",
    )
    return samples.captions
