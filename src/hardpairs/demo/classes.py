"""The same pictures laid out by class, for metric learning, retrieval and linking: labels to train on, others to choose by, others to report on."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import bad_input
from hardpairs.demo.build import (
    MANIFEST,
    UNFINISHED,
    Options,
    Subject,
    Task,
    clear,
    groups_of,
    image_bytes,
    is_finished,
    licence,
    photograph_all,
    subjects_of,
    versions,
)

FOLDERS = ("train", "validation", "test/query", "test/gallery")
PARTS = {"train": 0.6, "validation": 0.2, "test": 0.2}
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
    """A photograph: its file, the class that it shows, who drew it, its number of that drawing, and its text."""

    file: Path
    label: int
    vendor: str
    view: int
    caption: str


def build_classes(folder: Path, options: Options, *, force: bool = False) -> bool:
    """Makes train/, validation/, test/query/ and test/gallery/ of class folders, and news.csv: the test pictures with misread texts.

    No class is in two parts. Of an emoji that two vendors drew, the first one's drawings ask and the second one's are the gallery; else a drawing's
    first photograph asks, and the others are its gallery.

    Returns:
        Whether anything was made.

    Raises:
        UserError: as ``hardpairs.demo.build.build``.
    """
    if not force and is_finished(folder, options):
        return False
    subjects = subjects_of(options)
    clear(folder, options)
    tasks = [
        _task(number, subject, folder / "images", options)
        for number, subject in enumerate(subjects)
    ]
    looks = photograph_all(tasks)
    labels = groups_of([subject.concept for subject in subjects], looks)
    shots = [
        Shot(
            folder / "images" / file,
            labels[number],
            subject.name.partition("-")[0],
            view,
            subject.caption,
        )
        for number, (subject, task) in enumerate(zip(subjects, tasks, strict=True))
        for file, _, view in task.files
    ]
    parts = _parts(shots, options.seed)
    names = _class_names(shots)
    table = _place(folder, shots, parts, names, two_vendors=options.second_vendor is not None)
    _write_news(folder / "news.csv", table, options.seed)
    shutil.rmtree(folder / "images")
    write_json(folder / MANIFEST, _manifest(folder, options, shots, parts))
    (folder / UNFINISHED).unlink()
    return True


def _task(number: int, subject: Subject, images: Path, options: Options) -> Task:
    (images / f"{number:05d}").mkdir(parents=True, exist_ok=True)
    return Task(
        subject,
        tuple((f"{number:05d}/{view:02d}.jpg", 0, view) for view in range(options.views)),
        images,
        options.seed,
    )


def _parts(shots: Sequence[Shot], seed: int) -> dict[int, str]:
    """The part of each class."""
    labels = np.unique([shot.label for shot in shots])
    if len(labels) < 10:
        raise bad_input(f"{len(labels)} classes are too few for three parts", fix="more `pairs`")
    order = np.random.default_rng([seed, 2]).permutation(labels)
    ends = np.rint(np.cumsum(list(PARTS.values())) * len(order)).astype(int)
    return {
        int(label): name
        for name, part in zip(PARTS, np.split(order, ends[:-1]), strict=True)
        for label in part
    }


def _class_names(shots: Sequence[Shot]) -> dict[int, str]:
    """A folder's name for each class: its first caption, in letters, digits and underscores; with a number where two would be the same."""
    names: dict[int, str] = {}
    for shot in shots:
        if shot.label not in names:
            name = re.sub("[^a-z0-9]+", "_", shot.caption.lower()).strip("_") or "class"
            names[shot.label] = f"{name}_{shot.label}" if name in names.values() else name
    return names


def _place(
    folder: Path,
    shots: Sequence[Shot],
    parts: dict[int, str],
    names: dict[int, str],
    *,
    two_vendors: bool,
) -> list[tuple[Path, Shot]]:
    """Moves the pictures to their places; (path, shot) of the test's."""
    vendors = sorted({shot.vendor for shot in shots}, key=[shot.vendor for shot in shots].index)
    both = (
        {
            label
            for label in names
            if len({shot.vendor for shot in shots if shot.label == label}) > 1
        }
        if two_vendors
        else set(names)
    )
    table = []
    for shot in shots:
        part = parts[shot.label]
        if part == "test":
            if shot.label not in both:
                continue  # nothing would ask for it, or answer it
            asks = shot.vendor == vendors[0] if two_vendors else shot.view == 0
            part = "test/query" if asks else "test/gallery"
        place = folder / part / names[shot.label] / f"{shot.file.parent.name}_{shot.file.name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(shot.file, place)
        if part.startswith("test"):
            table.append((place, shot))
    return table


def _write_news(path: Path, table: Sequence[tuple[Path, Shot]], seed: int) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["image_path", "text", "label"])
    rng = np.random.default_rng([seed, 3])
    writer.writerows((place, misread(shot.caption, rng), shot.label) for place, shot in table)
    write_text(path, text.getvalue())


def misread(caption: str, rng: np.random.Generator) -> str:
    """A caption as a scanner's text recognition might have it: letters taken for others, words run together."""
    return (
        "".join(
            _MISREAD.get(letter, "") if rng.random() < NOISE else letter
            for letter in caption.lower()
        )
        or caption
    )


def _manifest(folder: Path, options: Options, shots: Sequence[Shot], parts: dict[int, str]) -> dict:
    counts = {name: len(list((folder / name).rglob("*.jpg"))) for name in FOLDERS}
    classes = {name: sum(part == name for part in parts.values()) for name in PARTS}
    sizes = image_bytes(folder, ("train", "validation", "test"))
    told = {"pictures": counts, "classes": classes, "image_bytes": sizes}
    return {
        "options": asdict(options),
        **told,
        "licence": licence(options),
        "versions": versions(options),
    }
