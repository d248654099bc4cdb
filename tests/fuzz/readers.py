"""All readers of files of strangers."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.array_readers import array_readers
from tests.fuzz.image_readers import image_readers
from tests.fuzz.option_readers import option_readers
from tests.fuzz.pair_readers import pair_readers
from tests.fuzz.reader import Reader
from tests.fuzz.sample_readers import sample_readers
from tests.fuzz.weight_readers import weight_readers

GROUPS = (
    *(sample_readers, pair_readers, array_readers),
    *(option_readers, weight_readers, image_readers),
)


def readers(folder: Path) -> list[Reader]:
    """Return the readers, after writing what their files need beside them.

    Args:
        folder: An empty folder.
    """
    return [reader for group in GROUPS for reader in group(folder)]


def files_of(readers: list[Reader], count: int) -> dict[str, int]:
    """Return how many of ``count`` damaged files each reader gets, by its share."""
    shares = sum(reader.share for reader in readers)
    return {reader.name: -(-count * reader.share // shares) for reader in readers}
