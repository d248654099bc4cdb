"""The data that a run trains and validates on, opened once per process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from hardpairs.core.errors import flags
from hardpairs.data.opening import open_samples
from hardpairs.data.rejects import read_rejects
from hardpairs.data.samples import Samples
from hardpairs.losses import LOSSES

SAMPLE_FLAGS = {
    "separator": "--csv-separator",
    "image_key": "--csv-img-key",
    "caption_key": "--csv-caption-key",
    "group_key": "--csv-group-key",
    "unlabelled": "--unlabelled",
    "image_root": "--image-root",
    "caption_template": "--caption-template",
    "split": "--split",
    "allow_remote": "--allow-remote",
}
"""Flags of the fields of ``SampleOptions``, for values and for messages."""


@dataclass(frozen=True)
class SampleOptions:
    """Options for reading tables, shards and folders, as in ``open_samples``.

    Attributes:
        separator: Separator of a table; ``None`` finds it from the header line.
        image_key: Column of image paths.
        caption_key: Column of captions.
        group_key: Column, or key of a sample's JSON, of groups or labels.
        unlabelled: Values of the group that say there is none.
        image_root: Folder of the images of a captions.json.
        caption_template: Captions of a folder of images, with ``{}`` for the class.
        split: The part of the data.
        allow_remote: Whether data and images behind URLs are read.
    """

    separator: str | None = None
    image_key: str = "filepath"
    caption_key: str = "title"
    group_key: str = "group"
    unlabelled: tuple[str, ...] = ()
    image_root: str | None = None
    caption_template: str | None = None
    split: str | None = None
    allow_remote: bool = False

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> SampleOptions:
        """Build the options of the training data from flags, or from a run's stored parameters."""
        values = {"allow_remote": False, "split": None, **values}  # earlier versions had no such
        given = {name: values[flag[2:].replace("-", "_")] for name, flag in SAMPLE_FLAGS.items()}
        return cls(**{**given, "unlabelled": tuple(given["unlabelled"] or ())})

    def of_other_data(self, split: str | None = None) -> SampleOptions:
        """Return the options for other data than the training data, whole or a part of it."""
        return replace(self, split=split)


def open_training_samples(values: Mapping[str, Any]) -> Samples:
    """Open the training data by the values of flags, or by a run's stored parameters.

    Rows without a caption are usable where the loss compares images alone.
    """
    by_image = values.get("embed") == "image" and bool(values.get("loss_fn"))
    return open_once(
        values["train_data"],
        SampleOptions.from_values(values),
        values["reject"],
        by_image=by_image and LOSSES.load(values["loss_fn"]).needs_labels,
    )


def open_validation_samples(values: Mapping[str, Any]) -> Samples:
    """Open the validation data by the values of flags."""
    options = SampleOptions.from_values(values).of_other_data(values["val_split"])
    with flags(**{**SAMPLE_FLAGS, "split": "--val-split"}):
        return open_once(values["val_data"], options)


def open_once(
    source: str, options: SampleOptions, reject: str | None = None, *, by_image: bool = False
) -> Samples:
    """Open samples; the same arguments give the same object.

    Args:
        source: A table, shards or a folder, as in ``open_samples``.
        options: How rows are read.
        reject: File of rows that are in no batch.
        by_image: Whether rows without a caption are usable.

    Raises:
        UserError: exit 2 for a path that does not exist, exit 3 for bad content, exit 4 for rejects
            of other data.
    """
    return _open(source, options, reject, by_image)


@lru_cache(maxsize=4)
def _open(source: str, options: SampleOptions, reject: str | None, by_image: bool) -> Samples:
    if by_image:
        return _open(source, options, reject, False).by_image()
    samples = open_samples(source, **vars(options))
    if reject is not None:
        rows = read_rejects(reject, num_samples=len(samples), fingerprint=samples.fingerprint)
        samples.rejected = {**rows, **samples.rejected}
    return samples
