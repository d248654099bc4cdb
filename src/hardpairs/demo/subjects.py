"""The subjects of demonstration data, and photographs of them, made on all cores."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hardpairs.core.errors import bad_input, usage
from hardpairs.demo.options import DemoOptions

Photographer = Callable[[np.random.Generator], bytes]


@dataclass(frozen=True)
class Subject:
    """Something to photograph.

    Attributes:
        name: Unique among the subjects; its photographs depend on it and the seed alone.
        concept: Equal for two vendors' drawings of one emoji.
        caption: The text of its photographs.
        source: A ``Drawing`` or a ``Scene``.
    """

    name: str
    concept: str
    caption: str
    source: Any


@dataclass(frozen=True)
class PhotoTask:
    """Photographs of one subject to make.

    Attributes:
        subject: The subject.
        files: Path below ``images``, number of the split, and number of the view, of each.
        images: Folder of the images.
        seed: Seed of the photographs.
    """

    subject: Subject
    files: tuple[tuple[str, int, int], ...]
    images: Path
    seed: int


def subjects_of(options: DemoOptions) -> list[Subject]:
    """Return as many drawings or scenes as the options ask for.

    Raises:
        UserError: Exit 2, there are not so many.
    """
    count = math.ceil(options.pairs / options.views)
    rng = np.random.default_rng(options.seed)
    subjects = (
        _scene_subjects(count, rng)
        if options.kind == "scenes"
        else _emoji_subjects(options.second_vendor)
    )
    if count > len(subjects):
        raise usage(
            f"`pairs` {options.pairs} with `views` {options.views} needs {count} drawings, "
            f"there are {len(subjects)}",
            fix=f"at most `pairs` {len(subjects) * options.views}, or more `views`",
        )
    return pick(subjects, count, rng, last=options.layout == "captions")


def pick(
    subjects: Sequence[Subject], count: int, rng: np.random.Generator, *, last: bool = False
) -> list[Subject]:
    """Choose whole concepts at random: of an emoji that two vendors drew, both drawings.

    Args:
        subjects: All subjects.
        count: Number of subjects to choose; the last concept may be cut by it.
        rng: The random numbers.
        last: Whether to choose from the end of the random order.
    """
    concepts = sorted({subject.concept for subject in subjects})
    order = rng.permutation(len(concepts)).tolist()
    turn = {concepts[number]: i for i, number in enumerate(order)}
    ranked = sorted(range(len(subjects)), key=lambda i: (turn[subjects[i].concept], i))
    return [subjects[i] for i in sorted(ranked[-count:] if last else ranked[:count])]


def _scene_subjects(count: int, rng: np.random.Generator) -> list[Subject]:
    from hardpairs.demo import scenes

    made = scenes.scenes(min(count, scenes.most_scenes()), rng)
    names = [f"scene-{number}" for number in range(len(made))]
    return [Subject(n, n, scene.caption, scene) for n, scene in zip(names, made, strict=True)]


def _emoji_subjects(second_vendor: str | None) -> list[Subject]:
    from hardpairs.demo import emoji

    drawings = [("openmoji", drawing) for drawing in emoji.openmoji_drawings()]
    if second_vendor:
        keys = {drawing.key for _, drawing in drawings}
        second = emoji.vendor_drawings(Path(second_vendor))
        drawings += [("second", drawing) for drawing in second if drawing.key in keys]
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


def photograph_all(tasks: Sequence[PhotoTask]) -> list[str]:
    """Make all photographs, on all cores.

    Returns:
        The look of each subject: a hash of its drawing.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = min(len(affinity(0)) if affinity else os.cpu_count() or 1, 8)
    total = sum(len(task.files) for task in tasks)
    looks = []
    with tqdm(total=total, desc="photographs", unit="", file=sys.stderr) as bar:
        for task, look in zip(tasks, _looks(tasks, cores), strict=True):
            looks.append(look)
            bar.update(len(task.files))
    return looks


def _looks(tasks: Sequence[PhotoTask], cores: int) -> Iterator[str]:
    if cores == 1:
        yield from map(_photograph, tasks)
        return
    ignore_ctrl_c = (signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    with multiprocessing.Pool(cores, signal.signal, ignore_ctrl_c) as pool:
        yield from pool.imap(_photograph, tasks, chunksize=8)


def _photograph(task: PhotoTask) -> str:
    look, photographer = _studio(task.subject)
    name = int.from_bytes(hashlib.sha256(task.subject.name.encode()).digest()[:8], "big")
    for file, split, view in task.files:
        jpeg = photographer(np.random.default_rng([task.seed, name, split, view]))
        (task.images / file).write_bytes(jpeg)
    return look


def _studio(subject: Subject) -> tuple[str, Photographer]:
    """Return the look of a subject, and a function that photographs it."""
    from hardpairs.demo import emoji, photograph, scenes

    if isinstance(subject.source, scenes.Scene):
        return subject.name, lambda rng: scenes.draw(subject.source, rng)
    drawing = emoji.rasterize(subject.source.path)
    sticker = photograph.cut_out(drawing)
    look = hashlib.sha256(drawing.tobytes()).hexdigest()
    return look, lambda rng: photograph.photograph(sticker, rng)


def groups_of(concepts: Sequence[str], looks: Sequence[str]) -> list[int]:
    """Return groups: subjects of one concept or one look, directly or through others.

    Args:
        concepts: The concept of each subject.
        looks: The look of each subject.

    Returns:
        The group of each subject: the number of its first member.

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
    for number, (concept, look) in enumerate(zip(concepts, looks, strict=True)):
        for key in (("concept", concept), ("look", look)):
            a, b = sorted((root(first.setdefault(key, number)), root(number)))
            parent[b] = a
    return [root(number) for number in range(len(concepts))]
