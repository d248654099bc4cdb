"""A small captioned collection, as MiniCLIP's users have one: photographs, each with a name and with one word of it."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

from hardpairs.core.atomic import write_json
from hardpairs.demo.build import (
    MANIFEST,
    UNFINISHED,
    Options,
    Subject,
    Task,
    clear,
    image_bytes,
    is_finished,
    licence,
    photograph_all,
    subjects_of,
    versions,
)


def build_collection(folder: Path, options: Options, *, force: bool = False) -> bool:
    """Makes images/ and captions.json. Its drawings are the last that ``--layout pairs`` with the same seed would take.

    So a model that was trained on such pairs has not seen them, unless both are of more than half of the drawings.

    Returns:
        Whether anything was made.

    Raises:
        UserError: as ``hardpairs.demo.build.build``.
    """
    if not force and is_finished(folder, options):
        return False
    subjects = subjects_of(options)
    clear(folder, options)
    images = folder / "images"
    images.mkdir()
    tasks = [_task(number, subject, images, options) for number, subject in enumerate(subjects)]
    photograph_all(tasks)
    entries = [
        {"file_name": file, "caption": caption}
        for task in tasks
        for file, _, _ in task.files
        for caption in dict.fromkeys((task.subject.caption, in_a_word(task.subject.caption)))
    ]
    write_json(folder / "captions.json", entries)
    write_json(folder / MANIFEST, _manifest(folder, options, entries))
    (folder / UNFINISHED).unlink()
    return True


def _task(number: int, subject: Subject, images: Path, options: Options) -> Task:
    views = min(options.views, options.pairs - number * options.views)
    return Task(
        subject,
        tuple((f"{number:05d}_{view:02d}.jpg", 0, view) for view in range(views)),
        images,
        options.seed,
    )


def in_a_word(caption: str) -> str:
    """What a caption says most generally: its last word, or the last before "of", "with" or "in". Many things share it.

    Example:
        >>> in_a_word("grinning cat"), in_a_word("cat with tears of joy")
        ('cat', 'cat')
    """
    return re.split(" (?:of|with|in) ", caption)[0].split()[-1]


def _manifest(folder: Path, options: Options, entries: list[dict[str, str]]) -> dict:
    counts = {
        "pictures": len({entry["file_name"] for entry in entries}),
        "captions": len(entries),
        "different_captions": len({entry["caption"] for entry in entries}),
    }
    told = {**counts, "image_bytes": image_bytes(folder, ["images"])}
    return {
        "options": asdict(options),
        **told,
        "licence": licence(options),
        "versions": versions(options),
    }
