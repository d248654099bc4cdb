"""Embeddings of the last index and of an interrupted run, found by file or by content."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from hardpairs.core.errors import UserError
from hardpairs.core.progress import Progress
from hardpairs.photos.scan import PhotoFile
from hardpairs.photos.table import Table

BLOCK_ROWS = 4096
"""Embeddings that are copied at once."""
CachedRow = tuple[int, int]
"""(number of a part, row in this part)."""


class EmbeddingCache:
    """Tables with their embeddings, and unreadable files. What is added last has precedence.

    Attributes:
        parts: Each a table of N rows and their embeddings, (N, D) float32.
        by_file: The file and its row, by path and key.
        by_digest: The row of a content, by SHA-256.
        unreadable: The file and its reason, by path and key.
    """

    def __init__(self) -> None:
        self.parts: list[tuple[Table, np.ndarray]] = []
        self.by_file: dict[tuple[str, str], tuple[PhotoFile, CachedRow]] = {}
        self.by_digest: dict[bytes, CachedRow] = {}
        self.unreadable: dict[tuple[str, str], tuple[PhotoFile, str]] = {}

    def add(self, table: Table, vectors: np.ndarray, unreadable: Table) -> None:
        """Add a part.

        Args:
            table: N photos.
            vectors: Their embeddings, (N, D) float32 unit rows.
            unreadable: Files without an embedding.
        """
        part = len(self.parts)
        self.parts.append((table, vectors))
        for row, file in enumerate(table.files()):
            self.by_file[file.name] = file, (part, row)
            self.by_digest.setdefault(table.digest[row].tobytes(), (part, row))
        for file, reason in zip(unreadable.files(), unreadable.notes, strict=True):
            self.unreadable[file.name] = file, reason

    def digest(self, cached: CachedRow) -> bytes:
        """Return the SHA-256 of a row's content."""
        part, row = cached
        return bytes(self.parts[part][0].digest[row])

    def vectors(self, wanted: list[CachedRow]) -> Iterator[np.ndarray]:
        """Yield the embeddings of some rows, in order, a block (b, D) at a time."""
        for start in range(0, len(wanted), BLOCK_ROWS):
            block = np.array(wanted[start : start + BLOCK_ROWS], np.int64)
            out = np.empty((len(block), self.width), np.float32)
            for part in np.unique(block[:, 0]):
                rows = block[:, 0] == part
                out[rows] = self.parts[part][1][block[rows, 1]]
            yield out

    @property
    def width(self) -> int:
        """Components of an embedding; 0 before there is one."""
        return next((vectors.shape[1] for _, vectors in self.parts if len(vectors)), 0)


def save_part(progress: Progress, table: Table, vectors: np.ndarray, unreadable: Table) -> None:
    """Commit one part, in the form of ``EmbeddingCache.add``."""
    number = max(map(int, progress.names()), default=-1) + 1
    columns = {**table.columns(), **unreadable.columns("unreadable_")}
    progress.save(f"{number:05d}", vectors=vectors, **columns)


def load_parts(progress: Progress, cache: EmbeddingCache) -> None:
    """Add the parts that an interrupted run committed; a damaged one is skipped."""
    for name in progress.names():
        with contextlib.suppress(UserError, KeyError):
            arrays = progress.load(name) or {}
            unreadable = Table.from_columns(arrays, "unreadable_")
            cache.add(Table.from_columns(arrays), arrays["vectors"], unreadable)
