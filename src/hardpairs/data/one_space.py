"""Tell embeddings of one space, as of a CLIP model, from those of two encoders trained apart."""

from __future__ import annotations

import numpy as np

from hardpairs.core.errors import bad_input
from hardpairs.core.vectors import unit_rows
from hardpairs.data.embeddings import Embeddings


def check_one_space(embeddings: Embeddings, where: str, most: int = 1000) -> None:
    """Refuse embeddings in which an image is no more similar to its own text than to others.

    Such are those of two encoders that were trained apart.

    Args:
        embeddings: The embeddings.
        where: Their folder, for the message.
        most: Rows that are looked at.

    Raises:
        UserError: Exit 3.
    """
    fix = "embed the data by both towers of one CLIP"
    widths = embeddings.image.shape[1], embeddings.text.shape[1]
    if widths[0] != widths[1]:
        raise bad_input(
            f"images and texts are of two encoders, {widths[0]} and {widths[1]} numbers wide: they "
            "cannot be compared",
            where=where,
            fix=fix,
        )
    count = len(embeddings.rows)
    rows = np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
    image, text = unit_rows(embeddings.image[rows]), unit_rows(embeddings.text[rows])
    strangers = (image * np.roll(text, len(rows) // 2, axis=0)).sum(1)
    gain = (image * text).sum(1) - strangers
    if len(rows) > 1 and gain.mean() <= 2 * gain.std() / len(rows) ** 0.5:
        raise bad_input(
            "images are no more similar to their own texts than to others, as with two encoders "
            "that were trained apart",
            where=where,
            fix=fix,
        )
