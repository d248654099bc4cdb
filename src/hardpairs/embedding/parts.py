"""Embeddings on their way: finished parts of a fixed number of rows, in ``OUT/.unfinished/``.

OUT is a folder or a URL.

A part is a fixed range of dataset rows, cut into fixed batches. What is in it depends neither on
the process that made it nor on what was made before. So several processes may fill the folder.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from hardpairs.core.errors import mismatch
from hardpairs.core.progress import RECIPE, Progress, recipe_mismatch
from hardpairs.core.remote import FilePath
from hardpairs.core.shared_files import exists, files_in, is_remote
from hardpairs.core.temporary import sweep
from hardpairs.embedding.stream import Embedded, usable_batches

FOLDER = ".unfinished"


class Parts:
    """The parts of an embedding run by number.

    Args:
        out: The folder of the embeddings, or its URL.
        recipe: JSON values that the parts follow from.
        count: Rows of the data set.
        size: Rows per part.
        batch_size: Rows per batch; products of other shapes round otherwise.
    """

    def __init__(
        self, out: FilePath, recipe: dict[str, Any], count: int, size: int, batch_size: int
    ) -> None:
        self.out, self.count, self.size, self.batch_size = out, count, size, batch_size
        recipe = {**recipe, "part_rows": size, "batch_size": batch_size}
        self.folder = out / FOLDER
        self.progress = Progress(self.folder, recipe, kind="embeddings", optional=("first_image",))
        self._made: set[int] = set()

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def rows(self, number: int) -> range:
        """Return the dataset rows of a part."""
        return range(number * self.size, min((number + 1) * self.size, self.count))

    def name(self, number: int) -> str:
        """Return the name of a part, for its file and its lease."""
        return f"part_{number:08d}"

    def batches(self, number: int, rejected: Collection[int]) -> list[list[int]]:
        """Return the rows of a part that are not rejected, in its batches."""
        return list(usable_batches(self.rows(number), rejected, self.batch_size))

    def claim(self) -> None:
        """Take over the folder, with the parts that others have made or make.

        Raises:
            UserError: exit 4 when the folder holds parts of another recipe, or embeddings that this
                program did not make.
        """
        begun = exists(self.folder / RECIPE)
        self.progress.begin()
        if not begun and files_in(self.out, "*_emb/*.npy"):
            raise mismatch(
                "the folder holds embeddings that were made elsewhere",
                where=str(self.out),
                fix="choose another output folder",
            )
        self.sweep()  # what killed runs left is as large as what this run needs room for
        self.progress.claim()

    def sweep(self) -> None:
        """Remove the temporary files of killed processes from the output folder."""
        if not is_remote(self.out):
            for folder in (self.out, *self.out.glob("*/")):
                sweep(folder)

    def check(self) -> None:
        """Refuse a folder that another run has taken in the meantime, or whose parts are gone.

        Raises:
            UserError: exit 4.
        """
        if not exists(self.folder / RECIPE):
            raise mismatch(
                "the unfinished embeddings are gone: somebody has removed them, or ended the work",
                where=str(self.folder),
                fix="start the same command again",
            )
        if names := self.progress.differing():
            raise recipe_mismatch("unfinished embeddings", self.folder, names)

    def unfinished(self) -> list[int]:
        """Return the numbers of the parts that are not made yet."""
        made = set(self.made())
        return [number for number in range(len(self)) if number not in made]

    def made(self) -> list[int]:
        """Return the numbers of the parts that are made."""
        there = set(self.progress.names())  # all at once: a store takes a request for each question
        self._made |= {number for number in range(len(self)) if self.name(number) in there}
        return sorted(self._made)

    def is_made(self, number: int) -> bool:
        """Return whether a part is made, by any process; what is made stays so."""
        if number not in self._made and self.progress.has(self.name(number)):
            self._made.add(number)
        return number in self._made

    def save(self, number: int, part: Embedded) -> None:
        """Commit a part, unless another process has made it, too.

        Raises:
            UserError: exit 4 when another run has taken the folder.
        """
        self.check()
        if self.is_made(number):
            return
        reasons = json.dumps({str(row): reason for row, reason in part.rejected.items()})
        self.progress.save(
            self.name(number),
            image=part.image,
            text=part.text,
            rows=part.rows,
            rejected=np.frombuffer(reasons.encode(), np.uint8),
        )

    def load(self, number: int, *names: str) -> dict[str, Any]:
        """Return arrays of a finished part by name; ``rejected`` is a dict of reasons by row.

        Raises:
            UserError: exit 4 when the part is damaged or absent.
        """
        loaded: dict[str, Any] = self.progress.load_others(self.name(number), names)
        if "rejected" in loaded:
            reasons = json.loads(loaded["rejected"].tobytes() or b"{}")
            loaded["rejected"] = {int(row): reason for row, reason in reasons.items()}
        return loaded

    def loaded(self, *names: str) -> Iterator[dict[str, Any]]:
        """Yield arrays of all parts in order; only one part is in memory at a time."""
        return (self.load(number, *names) for number in range(len(self)))

    def remove(self) -> None:
        """Remove the parts, once the embeddings are written."""
        self.progress.remove()
