"""Keep embeddings of a few images and captions, so that plots do not need the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import bad_input
from hardpairs.data.npy_files import read_arrays
from hardpairs.data.samples import Samples
from hardpairs.embedding.stream import Embedded
from hardpairs.metrics.groups import first_of_each

FILE = "drawn.npz"
ARRAYS = ("image_rows", "image", "text_rows", "text", "text_image")
IMAGES, CAPTIONS, SEED = 30, 2, 1
"""Images and captions of each that are kept, as many as MiniCLIP draws on its map."""


def choose_embeddings(samples: Samples, embedded: Embedded) -> dict[str, np.ndarray]:
    """Choose one image of each of a few groups, with different captions of the group.

    The choice is random with a fixed seed.

    Args:
        samples: The data that was embedded.
        embedded: Embeddings of M rows.

    Returns:
        ``image_rows`` (I,) and ``image`` (I, D): rows and embeddings of at most ``IMAGES`` images;
        ``text_rows`` (T,) and ``text`` (T, D): those of at most ``CAPTIONS`` captions of each;
        ``text_image`` (T,): position of the image that a caption belongs to.
    """
    groups = samples.groups[embedded.rows]
    images = np.random.default_rng(SEED).permutation(first_of_each(groups))[:IMAGES]
    texts = first_of_each(groups, samples.texts[embedded.rows])
    by_image = [texts[groups[texts] == groups[image]][:CAPTIONS] for image in images]
    chosen = np.concatenate(by_image)
    return {
        "image_rows": embedded.rows[images],
        "image": embedded.image[images],
        "text_rows": embedded.rows[chosen],
        "text": embedded.text[chosen],
        "text_image": np.repeat(np.arange(len(images)), [len(part) for part in by_image]),
    }


def write_plot_embeddings(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the arrays of ``choose_embeddings`` into a run folder."""
    with atomic_open(folder / FILE) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_plot_embeddings(folder: Path) -> dict[str, np.ndarray]:
    """Read the arrays that ``write_plot_embeddings`` wrote.

    Raises:
        UserError: Exit 3 when they are not there or not readable.
    """
    try:
        return read_arrays(folder / FILE, ARRAYS)
    except (OSError, ValueError) as error:
        raise bad_input(
            f"no readable {FILE}: {error}",
            where=str(folder),
            fix=f"hardpairs evaluate ... --out {folder} writes it",
        ) from None
