"""A few pictures with their captions' embeddings, kept so that they can be plotted when the model is not at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import bad_input
from hardpairs.data.samples import Samples
from hardpairs.embedding.stream import Embedded
from hardpairs.metrics.retrieval import first_of_each

NAME = "drawn.npz"
GROUPS, CAPTIONS, SEED = 30, 2, 1
"""As many pictures as MiniCLIP maps, each of another thing, and as many captions of each."""


def drawn(samples: Samples, embedded: Embedded) -> dict[str, np.ndarray]:
    """A seeded draw: one image of each of up to ``GROUPS`` groups, with up to ``CAPTIONS`` different captions of the group.

    Returns:
        ``image_rows`` (I,), ``image`` (I, D), ``text_rows`` (T,), ``text`` (T, D), ``text_image`` (T,): which image a caption is of.
    """
    groups = samples.groups[embedded.rows]
    images = np.random.default_rng(SEED).permutation(first_of_each(groups))[:GROUPS]
    texts = first_of_each(groups, samples.texts[embedded.rows])
    of_image = [texts[groups[texts] == groups[image]][:CAPTIONS] for image in images]
    chosen = np.concatenate(of_image)
    return {
        "image_rows": embedded.rows[images],
        "image": embedded.image[images],
        "text_rows": embedded.rows[chosen],
        "text": embedded.text[chosen],
        "text_image": np.repeat(np.arange(len(images)), [len(part) for part in of_image]),
    }


def write_drawn(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    with atomic_open(folder / NAME) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_drawn(folder: Path) -> dict[str, np.ndarray]:
    """What ``write_drawn`` wrote.

    Raises:
        UserError: exit 3 when it is not there or not readable.
    """
    try:
        with np.load(folder / NAME, allow_pickle=False) as arrays:
            return {
                name: arrays[name]
                for name in ("image_rows", "image", "text_rows", "text", "text_image")
            }
    except (OSError, ValueError, KeyError) as error:
        raise bad_input(
            f"no readable {NAME}: {error}",
            where=str(folder),
            fix=f"python -m tools.evaluate ... --out {folder}",
        ) from None
