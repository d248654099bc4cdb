"""The parts of labelled data that losses are compared on: to train, to choose by, to report, queries and their gallery."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import bad_input, mismatch, usage
from hardpairs.data.samples import FOLDER, Samples, open_samples

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
COLUMNS = ("filepath", "title", "label")


@dataclass(frozen=True)
class Parts:
    """Where the parts lie: folders of class folders, or tables with the columns ``COLUMNS``. Without a query folder, each test row asks the others."""

    train: Path
    validation: Path
    test: Path
    query: Path | None = None

    def open(self, name: str) -> Samples:
        return open_samples(getattr(self, name), group_key=self.label_key)

    @property
    def label_key(self) -> str:
        """What ``--csv-label-key`` is for these parts."""
        return "label" if self.train.suffix == ".csv" else FOLDER

    def fingerprints(self) -> tuple[str, ...]:
        """Of every part that there is: what the runs are made from, and what they are measured on."""
        return tuple(
            self.open(name).fingerprint
            for name in ("train", "validation", "test", *(["query"] if self.query else []))
        )

    @cached_property
    def has_answers(self) -> bool:
        """Whether the label of some test query is in the gallery; without queries, whether two test rows share a label."""
        gallery = self.open("test")
        known = gallery.groups[gallery.labelled]
        if self.query is None:
            return len(np.unique(known)) < len(known)
        query = self.open("query")
        return bool(np.isin(query.groups[query.labelled], known).any())

    def reported(self) -> tuple[Samples, Samples | None]:
        """(gallery, queries) that the table comes from: the test's, or, without answers there, the validation rows, which ask each other."""
        if not self.has_answers:
            return self.open("validation"), None
        return self.open("test"), self.open("query") if self.query else None


def find_parts(data: str, out: Path, options: dict, *, by: str) -> Parts:
    """The parts of a data set.

    A folder with ``train`` and ``validation`` (or ``val``) inside is taken as it is; ``test`` may hold ``query`` and ``gallery``, the layout of
    the loss comparison. Anything else is split: labels (``by="label"``, so that the test's classes are new ones) or the rows of each label.

    Raises:
        UserError: exit 2 for a layout that lacks a part; exit 3 for data with too few labels; exit 4 when OUT holds a split of other data.
    """
    parts = _parts_of(data, out, options, by)
    if parts.query is None and not parts.has_answers:
        raise bad_input(
            "no two test pictures share a label: no query has an answer",
            where=str(parts.test),
            fix="test/CLASS, or test/query and test/gallery",
        )
    return parts


def _parts_of(data: str, out: Path, options: dict, by: str) -> Parts:
    folder = Path(data)
    if (folder / "train").is_dir():
        validation = next(
            (folder / name for name in ("validation", "val") if (folder / name).is_dir()), None
        )
        if validation is None or not (folder / "test").is_dir():
            raise usage("a folder with train/ needs validation/ and test/, too", where=data)
        query = folder / "test/query"
        return Parts(
            folder / "train",
            validation,
            folder / "test/gallery" if query.is_dir() else folder / "test",
            query if query.is_dir() else None,
        )
    samples = open_samples(data, **options)
    _write_split(samples, out / "data", by)
    return Parts(*(out / f"data/{name}.csv" for name in SHARES))


def _write_split(samples: Samples, folder: Path, by: str) -> None:
    """Writes the three tables once; a later call checks that the data is still the same."""
    recipe = {"dataset_fingerprint": samples.fingerprint, "by": by, "shares": SHARES}
    if (folder / "split.json").is_file():
        if json.loads((folder / "split.json").read_text(encoding="utf-8")) != recipe:
            raise mismatch(
                "the folder holds a split of other data",
                where=str(folder),
                fix="choose another --out",
            )
        return
    rows = [row for row in np.flatnonzero(samples.labelled).tolist() if row not in samples.rejected]
    for name, part in split(samples.groups[rows], by).items():
        if len(part) < 2:
            raise bad_input(
                f"too few labels to split: {len(part)} rows to {name}",
                where=samples.source,
                fix="more labels, --split-by row, or parts of your own",
            )
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows(
            (
                _path_of(samples, rows[place]),
                samples.caption(rows[place]),
                samples.groups[rows[place]],
            )
            for place in part
        )
        write_text(folder / f"{name}.csv", text.getvalue())
    write_json(folder / "split.json", recipe)


def _path_of(samples: Samples, row: int) -> str:
    """A row's picture for a table: its file, or its member of a tar."""
    path = samples.image_path(row)
    return str(Path(path).absolute()) if "://" not in path else path


def split(labels: np.ndarray, by: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Places of each part, ascending: whole labels (``by="label"``), or of each label its share (``by="row"``), at least one to train."""
    rng = np.random.default_rng(seed)
    names, place = np.unique(labels, return_inverse=True)
    ends = np.cumsum(list(SHARES.values()))
    if by == "label":
        position = (rng.permutation(len(names))[place] + 0.5) / len(names)
    else:
        order = rng.permutation(len(labels))
        position = np.empty(len(labels))
        for label in range(len(names)):
            mine = order[place[order] == label]
            position[mine] = np.arange(len(mine)) / len(mine)
    number = np.minimum(np.searchsorted(ends, position, side="right"), len(ends) - 1)
    return {name: np.flatnonzero(number == i) for i, name in enumerate(SHARES)}
