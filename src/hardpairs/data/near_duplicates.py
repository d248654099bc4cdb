"""Groups of images that look the same to the eye or to a model.

They are copies, copies of another size, or the shots of a burst.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from hardpairs.core.errors import usage
from hardpairs.core.vectors import unit_rows
from hardpairs.data.embeddings import open_embeddings
from hardpairs.data.images import UnreadableImage, read_image
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.samples import Samples
from hardpairs.data.splits import COSINE, LOOK, image_numbers

SIDE = 16
"""Width and height of the thumbnails that are compared."""
SAME_LOOK = 6.0
"""Largest root mean square difference of thumbnails that look the same, in levels of 0 to 255."""
BLOCK = 2048


@dataclass(frozen=True)
class DuplicateSearch:
    """The ways in which near duplicates are found.

    Attributes:
        by_look: Whether images that look the same are near duplicates.
        embeddings: A folder of embeddings in which near images are near duplicates.
        threshold: Cosine above which embeddings are near, in (0, 1].
    """

    by_look: bool = False
    embeddings: str | None = None
    threshold: float = 0.98

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise usage(f"`threshold` must lie in (0, 1], not {self.threshold}")

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings for the manifest of a split; empty if nothing is searched."""
        look = {LOOK: True} if self.by_look else {}
        return look | ({COSINE: self.threshold} if self.embeddings else {})

    def groups(self, samples: Samples) -> np.ndarray:
        """Return a group number of each of the U images of a data set, (U,) int64.

        Raises:
            UserError: Exit 4 for embeddings of other data.
        """
        numbers, first = image_numbers(samples)
        pairs = [look_alikes(samples, first)] if self.by_look else []
        if self.embeddings:
            pairs.append(near_in_embeddings(samples, numbers, self.embeddings, self.threshold))
        return joined(len(first), np.concatenate(pairs))


def near_in_embeddings(
    samples: Samples, numbers: np.ndarray, folder: str, threshold: float
) -> np.ndarray:
    """Return the pairs of images whose stored embeddings are near, (P, 2) image numbers.

    Args:
        samples: N rows.
        numbers: (N,) int64, the image number of each row.
        folder: The folder of the embeddings.
        threshold: Cosine above which two images are near.

    Raises:
        UserError: Exit 4 for embeddings of other data.
    """
    embeddings = open_embeddings(folder)
    check_same_dataset(
        samples.fingerprint, embeddings.fingerprint, ours_name=samples.source, theirs_name=folder
    )
    images, rows = np.unique(numbers[embeddings.rows], return_index=True)
    vectors = np.asarray(embeddings.image[rows], np.float32)
    return np.asarray(images[same_direction(unit_rows(vectors), threshold)])


def thumbnail(image: Image.Image) -> np.ndarray:
    """Return an RGB image scaled to 16 x 16: (768,) float32 levels from 0 to 255."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).reshape(-1)


def look_alikes(samples: Samples, first: np.ndarray) -> np.ndarray:
    """Return the pairs of images whose thumbnails look the same, (P, 2) image numbers.

    Args:
        samples: The data set.
        first: (U,) a row of each image. An unreadable image looks like no other.
    """
    readable, thumbnails = [], []
    for number, row in enumerate(
        tqdm(first, unit="image", desc="look", file=sys.stderr, disable=None)
    ):
        try:
            thumbnails.append(thumbnail(read_image(samples, row)))
            readable.append(number)
        except UnreadableImage:
            continue
    if not readable:
        return np.empty((0, 2), np.int64)
    pairs: np.ndarray = np.array(readable)[same_look(np.stack(thumbnails))]
    return pairs


def same_look(thumbnails: np.ndarray) -> np.ndarray:
    """Return the pairs i < j of (U, 768) thumbnails at most ``SAME_LOOK`` apart, (P, 2)."""
    squares = (thumbnails.astype(np.float64) ** 2).sum(axis=1)
    bound = SAME_LOOK**2 * thumbnails.shape[1]
    return _pairs(
        thumbnails,
        lambda products, rows: squares[rows, None] + squares[None, :] - 2 * products <= bound,
    )


def same_direction(vectors: np.ndarray, threshold: float) -> np.ndarray:
    """Return the pairs i < j of (U, D) unit vectors whose cosine is above ``threshold``, (P, 2)."""
    return _pairs(
        vectors.astype(np.float32, copy=False), lambda products, rows: products > threshold
    )


def _pairs(vectors: np.ndarray, near: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the pairs i < j for which ``near(products of rows with all, rows)`` holds."""

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(vectors), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(vectors)))
            i, j = np.nonzero(near(vectors[rows] @ vectors.T, rows))
            pairs = np.stack([rows[i], j], axis=1)
            yield pairs[pairs[:, 0] < pairs[:, 1]]

    return np.concatenate([np.empty((0, 2), np.int64), *blocks()])


def joined(count: int, pairs: np.ndarray) -> np.ndarray:
    """Return (count,) group numbers; items that a chain of pairs connects share one."""
    graph = coo_array(
        (np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count)
    )
    return np.asarray(connected_components(graph, directed=False)[1])
