"""Pictures that show the same thing to the eye, or to a model, as groups: one more copy, another size, the next shot of a burst."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from hardpairs.data.images import UnreadableImage, read_image
from hardpairs.data.samples import Samples

SIDE = 16
"""Width and height of the thumbnails that are compared."""
SAME_LOOK = 6.0
"""Root mean square difference of two thumbnails, in levels of 0 to 255, up to which they look the same."""
BLOCK = 2048


def thumbnail(image: Image.Image) -> np.ndarray:
    """(768,) float32: an RGB picture squeezed to 16 x 16, levels from 0 to 255."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).reshape(-1)


def look_alikes(samples: Samples, first: np.ndarray) -> np.ndarray:
    """(P, 2) pairs of images, by number, whose thumbnails look the same; ``first`` (U,) has a row of each. An unreadable one is like none."""
    found, thumbnails = [], []
    for number, row in enumerate(
        tqdm(first, unit="image", desc="look", file=sys.stderr, disable=None)
    ):
        try:
            thumbnails.append(thumbnail(read_image(samples, row)))
            found.append(number)
        except UnreadableImage:
            continue
    return np.array(found)[same_look(np.stack(thumbnails))] if found else np.empty((0, 2), np.int64)


def same_look(thumbnails: np.ndarray) -> np.ndarray:
    """(P, 2) pairs i < j of (U, 768) thumbnails whose root mean square difference is at most ``SAME_LOOK``."""
    squares = (thumbnails.astype(np.float64) ** 2).sum(axis=1)
    bound = SAME_LOOK**2 * thumbnails.shape[1]
    return _pairs(
        thumbnails,
        lambda products, rows: squares[rows, None] + squares[None, :] - 2 * products <= bound,
    )


def same_direction(vectors: np.ndarray, threshold: float) -> np.ndarray:
    """(P, 2) pairs i < j of (U, D) unit vectors whose cosine is above ``threshold``."""
    return _pairs(
        vectors.astype(np.float32, copy=False), lambda products, rows: products > threshold
    )


def _pairs(vectors: np.ndarray, near) -> np.ndarray:
    """Pairs i < j for which ``near(products of rows with all, rows)`` holds, in blocks of rows."""

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(vectors), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(vectors)))
            i, j = np.nonzero(near(vectors[rows] @ vectors.T, rows))
            found = np.stack([rows[i], j], axis=1)
            yield found[found[:, 0] < found[:, 1]]

    return np.concatenate([np.empty((0, 2), np.int64), *blocks()])


def joined(count: int, pairs: np.ndarray) -> np.ndarray:
    """(count,) group numbers: what a chain of pairs connects has one number."""
    graph = coo_array(
        (np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count)
    )
    return connected_components(graph, directed=False)[1]
