"""The parts of labeled data on which losses are compared: for training, choice and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import write_csv, write_json
from hardpairs.core.errors import bad_input, usage
from hardpairs.core.progress import check_recipe
from hardpairs.data.opening import open_samples
from hardpairs.data.samples import FOLDER, Samples

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
COLUMNS = ("filepath", "title", "label")


@dataclass(frozen=True)
class DataParts:
    """The paths of the parts: folders of class folders, or tables with the columns ``COLUMNS``.

    Attributes:
        train: Rows to train on.
        validation: Rows that choose epoch and rate.
        test: Rows that are reported; with ``query``, the gallery.
        query: Rows that ask the gallery; ``None``: each test row asks the others.
        caption_template: Captions of class folders, with ``{}`` for the class.
    """

    train: Path
    validation: Path
    test: Path
    query: Path | None = None
    caption_template: str | None = None

    def open(self, name: str) -> Samples:
        """Open a part by its name."""
        template = self.caption_template
        part = getattr(self, name)
        return open_samples(part, group_key=self.label_key, caption_template=template)

    @property
    def label_key(self) -> str:
        """The column of labels, as the trainer takes it."""
        return "label" if self.train.suffix == ".csv" else FOLDER

    def fingerprints(self) -> tuple[str, ...]:
        """Return the fingerprints of all parts."""
        names = ("train", "validation", "test", *(["query"] if self.query else []))
        return tuple(self.open(name).fingerprint for name in names)

    @cached_property
    def has_answers(self) -> bool:
        """Return whether any test query has a gallery row of its label."""
        gallery = self.open("test")
        labels = gallery.groups[gallery.labelled]
        if self.query is None:
            return len(np.unique(labels)) < len(labels)
        query = self.open("query")
        return bool(np.isin(query.groups[query.labelled], labels).any())

    def reported(self) -> tuple[Samples, Samples | None]:
        """Open the gallery and the queries of the table.

        They are the test's; without answers there, the validation rows, which ask each other.
        """
        if not self.has_answers:
            return self.open("validation"), None
        return self.open("test"), self.open("query") if self.query else None


def find_parts(data: str, out: Path, options: Mapping[str, Any], *, by: str) -> DataParts:
    """Find the parts of a data set, or make them.

    A folder with ``train`` and ``validation`` (or ``val``) inside is taken as it is; ``test`` may
    hold ``query`` and ``gallery``. Other data is split: its labels, so that the test has new ones,
    or the rows of each label.

    Args:
        data: The data set.
        out: Folder of the comparison; the split is written below it.
        options: Arguments of ``open_samples``.
        by: ``label`` or ``row``.

    Raises:
        UserError: Exit 2 for a layout that lacks a part, exit 3 for data with too few labels, exit
            4 when the folder holds a split of other data.
    """
    folder = Path(data)
    if (folder / "train").is_dir():
        template = options.get("caption_template")
        parts = replace(_parts_of_folder(folder), caption_template=template)
    else:
        _write_split(open_samples(data, **options), out / "data", by)
        train, validation, test = (out / f"data/{name}.csv" for name in SHARES)
        parts = DataParts(train, validation, test)
    if parts.query is None and not parts.has_answers:
        raise bad_input(
            "no two test images share a label: no query has an answer",
            where=str(parts.test),
            fix="test/CLASS, or test/query and test/gallery",
        )
    return parts


def _parts_of_folder(folder: Path) -> DataParts:
    names = [name for name in ("validation", "val") if (folder / name).is_dir()]
    if not names or not (folder / "test").is_dir():
        raise usage("a folder with train/ needs validation/ and test/, too", where=str(folder))
    train, validation, test = (folder / name for name in ("train", names[0], "test"))
    if (test / "query").is_dir():
        return DataParts(train, validation, test / "gallery", test / "query")
    return DataParts(train, validation, test)


def _write_split(samples: Samples, folder: Path, by: str) -> None:
    """Write the three tables once; a later call checks that the data is the same."""
    recipe = {"dataset_fingerprint": samples.fingerprint, "by": by, "shares": SHARES}
    if check_recipe(folder / "split.json", recipe, kind="a split"):
        return
    rows = [row for row in np.flatnonzero(samples.labelled).tolist() if row not in samples.rejected]
    for name, part in split(samples.groups[rows], by).items():
        if len(part) < 2:
            raise bad_input(
                f"too few labels to split: {len(part)} rows to {name}",
                where=samples.source,
                fix="more labels, a split by row, or parts of your own",
            )
        chosen = [rows[index] for index in part]
        lines = ((_path_of(samples, r), samples.caption(r), samples.groups[r]) for r in chosen)
        write_csv(folder / f"{name}.csv", COLUMNS, lines)
    write_json(folder / "split.json", recipe)


def _path_of(samples: Samples, row: int) -> str:
    """Return the path of a row's image for a table: a file, or a member of a tar."""
    path = samples.image_path(row)
    return str(Path(path).absolute()) if "://" not in path else path


def split(labels: np.ndarray, by: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Split rows into the parts of ``SHARES``.

    Args:
        labels: (N,) int64.
        by: ``label`` keeps the rows of a label together; ``row`` gives each part its share of
            every label, and ``train`` at least one row.
        seed: Seed of the split.

    Returns:
        Row indices of each part, ascending.
    """
    rng = np.random.default_rng(seed)
    names, index = np.unique(labels, return_inverse=True)
    ends = np.cumsum(list(SHARES.values()))
    if by == "label":
        position = (rng.permutation(len(names))[index] + 0.5) / len(names)
    else:
        order = rng.permutation(len(labels))
        position = np.empty(len(labels))
        for label in range(len(names)):
            own = order[index[order] == label]
            position[own] = np.arange(len(own)) / len(own)
    number = np.minimum(np.searchsorted(ends, position, side="right"), len(ends) - 1)
    return {name: np.flatnonzero(number == i) for i, name in enumerate(SHARES)}
