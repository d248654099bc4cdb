"""The words of a model that reads words: where a run takes them from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from hardpairs.core.errors import usage
from hardpairs.data.manifest import NAME, check_same_dataset
from hardpairs.data.opening import open_samples
from hardpairs.data.splits import open_split
from hardpairs.models.checkpoint import checkpoint_vocabulary
from hardpairs.models.model_config import uses_words, vocabulary_of
from hardpairs.training.samples import SampleOptions, open_once


def run_vocabulary(
    model_name: str,
    start: str | None,
    captions: Callable[[], Iterable[str]] | None,
) -> list[str] | None:
    """Return the words that a run uses.

    They are those of the checkpoint that the run starts from, or else those of some captions.

    Args:
        model_name: The model.
        start: Checkpoint file that the run starts from, or ``None``.
        captions: Returns the captions when they are needed.

    Returns:
        The words; ``None`` for a model with tokens of its own, and without any source.
    """
    if not uses_words(model_name):
        return None
    vocabulary = checkpoint_vocabulary(start) if start else None
    if vocabulary is None and captions is not None:
        vocabulary = vocabulary_of(model_name, captions())
    return vocabulary


def vocabulary_captions(
    source: str | None, train_data: str, options: SampleOptions, reject: str | None = None
) -> Iterable[str]:
    """Return the captions that words are taken from.

    Args:
        source: ``train`` (also ``None``): the training data; ``all``: all captions that the
            training data was split from; else a file.
        train_data: The training data.
        options: How rows are read.
        reject: File of rows of the training data that are left out.

    Raises:
        UserError: exit 2 for ``all`` without a split, exit 4 when the data was changed since.
    """
    if source in (None, "train"):
        return open_once(train_data, options, reject).captions
    if source != "all":
        return open_once(str(source), options.of_other_data()).captions
    folder = Path(train_data) if options.split else Path(train_data).parent
    if not (folder / NAME).is_file():
        raise usage(
            "`vocabulary_from` all: the training data is no part of a split",
            where=str(folder),
            fix="train on a table of a split, or give the file of all captions",
        )
    split = open_split(folder)
    samples = open_samples(
        split.manifest["source"],
        image_key=options.image_key,
        caption_key=options.caption_key,
        image_root=split.manifest["image_root"],
    )
    check_same_dataset(
        samples.fingerprint,
        split.manifest["dataset_fingerprint"],
        ours_name=samples.source,
        theirs_name=f"the split {split.folder}",
    )
    return samples.captions
