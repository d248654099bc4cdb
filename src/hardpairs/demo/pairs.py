"""Image-text pairs behind URLs: three tables and the images that they list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.demo.build import make_once
from hardpairs.demo.options import DemoOptions
from hardpairs.demo.subjects import (
    PhotoTask,
    Subject,
    groups_of,
    photograph_all,
)
from hardpairs.demo.tables import SPLITS, BrokenEntry, PairRow, break_some, write_table

VAL_VIEWS, TEST_VIEWS = 1, 2
"""Photographs of each drawing for choosing settings and for the final figures."""
UNSERVED_URL = "http://127.0.0.1:8000"
"""The tables' server before one runs."""


def build_pairs(folder: Path, options: DemoOptions, *, force: bool = False) -> bool:
    """Make train.tsv, val.tsv, test.tsv and images/, unless they are there already.

    Args:
        folder: The folder.
        options: The options of the data.
        force: Whether data that is there is made again.

    Returns:
        Whether anything was made.

    Raises:
        UserError: Exit 2 or 3 for options and inputs that cannot be met; exit 4 when the folder
            holds other or damaged data, and ``force`` is off.
    """
    folders = [f"images/{split}" for split in SPLITS]
    return make_once(folder, options, partial(_make, folder, options), folders, force=force)


def _make(folder: Path, options: DemoOptions, subjects: Sequence[Subject]) -> Mapping[str, Any]:
    for split in SPLITS:
        (folder / "images" / split).mkdir(parents=True)
    tasks = _tasks(folder / "images", subjects, options)
    looks = photograph_all(tasks)
    groups = groups_of([subject.concept for subject in subjects], looks)
    tables, broken = _write_tables(folder, tasks, groups, options)
    rows = [row for split in SPLITS for row in tables[split]]
    return {
        "rows": {split: len(tables[split]) for split in SPLITS},
        "drawings": len(subjects),
        "groups": len({row.group for row in rows}),
        "captions": len({row.caption for row in rows}),
        "broken": [
            {
                "file": entry.row.file,
                "caption": entry.row.caption,
                "group": entry.row.group,
                "fault": entry.fault,
            }
            for entry in broken
        ],
    }


def _tasks(images: Path, subjects: Sequence[Subject], options: DemoOptions) -> list[PhotoTask]:
    """Return the tasks; the last subject has fewer views if ``views`` does not divide ``pairs``."""
    tasks = []
    for number, subject in enumerate(subjects):
        counts = (min(options.views, options.pairs - number * options.views), VAL_VIEWS, TEST_VIEWS)
        files = tuple(
            (f"{name}/{number:05d}_{view:02d}.jpg", split, view)
            for split, (name, count) in enumerate(zip(SPLITS, counts, strict=True))
            for view in range(count)
        )
        tasks.append(PhotoTask(subject, files, images, options.seed))
    return tasks


def _write_tables(
    folder: Path, tasks: Sequence[PhotoTask], groups: Sequence[int], options: DemoOptions
) -> tuple[dict[str, list[PairRow]], list[BrokenEntry]]:
    """Write the three tables, shuffled as real ones are: views of one thing do not follow on."""
    tables: dict[str, list[PairRow]] = {split: [] for split in SPLITS}
    for task, group in zip(tasks, groups, strict=True):
        for file, split, _ in task.files:
            tables[SPLITS[split]].append(PairRow(task.subject.caption, file, group))
    rng = np.random.default_rng([options.seed, 1])

    def shuffled(rows: Sequence[PairRow]) -> list[PairRow]:
        return [rows[number] for number in rng.permutation(len(rows))]

    tables = {split: shuffled(rows) for split, rows in tables.items()}
    broken = break_some(tables["train"], folder / "images")
    listed = shuffled([*tables["train"], *(entry.row for entry in broken)])
    for name, rows in (tables | {"train": listed}).items():
        write_table(folder / f"{name}.tsv", rows, UNSERVED_URL)
    return tables, broken
