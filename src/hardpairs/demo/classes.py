"""Images by class, for metric learning, retrieval and linking, in parts without a common label."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import write_csv
from hardpairs.core.errors import bad_input
from hardpairs.demo.build import make_once
from hardpairs.demo.options import DemoOptions
from hardpairs.demo.subjects import PhotoTask, Subject, groups_of, photograph_all

FOLDERS = ("train", "validation", "test/query", "test/gallery")
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
NOISE = 0.12
"""Share of a text's letters that are misread."""
_MISREAD = {
    "e": "c",
    "o": "0",
    "l": "1",
    "i": "l",
    "m": "rn",
    "a": "o",
    "s": "5",
    "b": "h",
    "g": "q",
    "n": "u",
    "t": "f",
    " ": "",
}


@dataclass(frozen=True)
class Shot:
    """A photograph.

    Attributes:
        file: Its path.
        label: The class that it shows.
        vendor: Who drew the drawing.
        view: Its number among the photographs of the drawing.
        caption: Its text.
    """

    file: Path
    label: int
    vendor: str
    view: int
    caption: str


def build_classes(folder: Path, options: DemoOptions, *, force: bool = False) -> bool:
    """Make class folders and a table of misread texts, unless they are there already.

    The folders are train/, validation/, test/query/ and test/gallery/; news.csv lists the test
    images with misread texts. No class is in two parts. Of an emoji that two vendors drew, the
    first vendor's drawings ask and the second's are the gallery. Otherwise a drawing's first
    photograph asks, and the others are its gallery.

    Args:
        folder: The folder.
        options: The options of the data.
        force: Whether data that is there is made again.

    Returns:
        Whether anything was made.

    Raises:
        UserError: As ``hardpairs.demo.pairs.build_pairs``.
    """
    return make_once(folder, options, partial(_make, folder, options), SHARES, force=force)


def _make(folder: Path, options: DemoOptions, subjects: Sequence[Subject]) -> Mapping[str, Any]:
    # Drawings that look alike become one class, so that there may be fewer in the end.
    _check_classes(len({subject.concept for subject in subjects}))
    shots = _photographs(folder / "images", subjects, options)
    part_of = _parts(shots, options.seed)
    table = _move(folder, shots, part_of, two_vendors=options.second_vendor is not None)
    rng = np.random.default_rng([options.seed, 3])
    lines = ((path, misread(shot.caption, rng), shot.label) for path, shot in table)
    write_csv(folder / "news.csv", ("image_path", "text", "label"), lines)
    shutil.rmtree(folder / "images")
    return {
        "pictures": {name: len(list((folder / name).rglob("*.jpg"))) for name in FOLDERS},
        "classes": {name: list(part_of.values()).count(name) for name in SHARES},
    }


def _photographs(images: Path, subjects: Sequence[Subject], options: DemoOptions) -> list[Shot]:
    tasks = []
    for number, subject in enumerate(subjects):
        (images / f"{number:05d}").mkdir(parents=True, exist_ok=True)
        files = tuple((f"{number:05d}/{view:02d}.jpg", 0, view) for view in range(options.views))
        tasks.append(PhotoTask(subject, files, images, options.seed))
    looks = photograph_all(tasks)
    labels = groups_of([subject.concept for subject in subjects], looks)
    return [
        Shot(images / file, label, task.subject.name.partition("-")[0], view, task.subject.caption)
        for task, label in zip(tasks, labels, strict=True)
        for file, _, view in task.files
    ]


def _check_classes(count: int) -> None:
    if count < 10:
        fix = "more `pairs`, or fewer `views` of each drawing"
        raise bad_input(f"{count} classes are too few for three parts", fix=fix)


def _parts(shots: Sequence[Shot], seed: int) -> dict[int, str]:
    """Return the part of each class."""
    labels = np.unique([shot.label for shot in shots])
    _check_classes(len(labels))
    order = np.random.default_rng([seed, 2]).permutation(labels)
    ends = np.rint(np.cumsum(list(SHARES.values())) * len(order)).astype(int)
    parts = zip(SHARES, np.split(order, ends[:-1]), strict=True)
    return {int(label): name for name, part in parts for label in part}


def _class_names(shots: Sequence[Shot]) -> dict[int, str]:
    """Return a folder name for each class: its first caption, with a number if it repeats."""
    names: dict[int, str] = {}
    for shot in shots:
        if shot.label not in names:
            name = re.sub("[^a-z0-9]+", "_", shot.caption.lower()).strip("_") or "class"
            names[shot.label] = f"{name}_{shot.label}" if name in names.values() else name
    return names


def _move(
    folder: Path, shots: Sequence[Shot], part_of: Mapping[int, str], *, two_vendors: bool
) -> list[tuple[Path, Shot]]:
    """Move the images into the class folders; return path and photograph of the test's."""
    names, first_vendor = _class_names(shots), shots[0].vendor
    drawn_by: dict[int, set[str]] = {}
    for shot in shots:
        drawn_by.setdefault(shot.label, set()).add(shot.vendor)
    table = []
    for shot in shots:
        part = part_of[shot.label]
        if part == "test":
            if two_vendors and len(drawn_by[shot.label]) < 2:
                continue  # nothing would ask for it, or answer it
            asks = shot.vendor == first_vendor if two_vendors else shot.view == 0
            part = "test/query" if asks else "test/gallery"
        path = folder / part / names[shot.label] / f"{shot.file.parent.name}_{shot.file.name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(shot.file, path)
        if part.startswith("test"):
            table.append((path, shot))
    return table


def misread(caption: str, rng: np.random.Generator) -> str:
    """Return a caption as a scanner's text recognition might read it.

    Letters are taken for others, and words run together.

    Args:
        caption: The text.
        rng: The random numbers.
    """
    letters = caption.lower()
    text = "".join(_MISREAD.get(a, "") if rng.random() < NOISE else a for a in letters)
    return text or caption
