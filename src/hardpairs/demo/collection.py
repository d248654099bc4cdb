"""A small captioned collection: photographs, each with a name and with one word of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hardpairs.core.atomic import write_json
from hardpairs.demo.build import make_once
from hardpairs.demo.options import DemoOptions
from hardpairs.demo.subjects import PhotoTask, Subject, photograph_all


def build_collection(folder: Path, options: DemoOptions, *, force: bool = False) -> bool:
    """Make images/ and captions.json, unless they are there already.

    Its drawings are the last that the layout ``pairs`` with the same seed would take. A model that
    was trained on such pairs has therefore not seen them, unless both are of more than half of the
    drawings.

    Args:
        folder: The folder.
        options: The options of the data.
        force: Whether data that is there is made again.

    Returns:
        Whether anything was made.

    Raises:
        UserError: As ``hardpairs.demo.pairs.build_pairs``.
    """
    return make_once(folder, options, partial(_make, folder, options), ["images"], force=force)


def _make(folder: Path, options: DemoOptions, subjects: Sequence[Subject]) -> Mapping[str, Any]:
    images = folder / "images"
    images.mkdir()
    tasks = []
    for number, subject in enumerate(subjects):
        views = min(options.views, options.pairs - number * options.views)
        files = tuple((f"{number:05d}_{view:02d}.jpg", 0, view) for view in range(views))
        tasks.append(PhotoTask(subject, files, images, options.seed))
    photograph_all(tasks)
    entries = [
        {"file_name": file, "caption": caption}
        for task in tasks
        for file, _, _ in task.files
        for caption in dict.fromkeys((task.subject.caption, in_a_word(task.subject.caption)))
    ]
    write_json(folder / "captions.json", entries)
    return {
        "pictures": len({entry["file_name"] for entry in entries}),
        "captions": len(entries),
        "different_captions": len({entry["caption"] for entry in entries}),
    }


def in_a_word(caption: str) -> str:
    """Return the head noun of a caption, which many captions share.

    It is the last word, or the last before "of", "with" or "in".

    Example:
        >>> in_a_word("grinning cat"), in_a_word("cat with tears of joy")
        ('cat', 'cat')
    """
    return re.split(" (?:of|with|in) ", caption)[0].split()[-1]
