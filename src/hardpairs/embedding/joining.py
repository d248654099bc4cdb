"""Join the parts of an embedding run into the files of the folder."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import numpy as np

from hardpairs.data.embeddings import EmbeddedRows, write_streamed
from hardpairs.data.samples import Samples
from hardpairs.data.unreadable import UnreadableImages
from hardpairs.embedding.parts import Parts
from hardpairs.embedding.stream import nothing_embedded


def join_parts(
    samples: Samples, parts: Parts, unreadable: UnreadableImages, recipe: dict[str, Any]
) -> None:
    """Write the folder's files from its parts, the manifest last.

    Two processes may do this at once: they write the same bytes, and each file appears whole. One
    that finds the parts removed by the other has changed nothing.

    Args:
        samples: The data set.
        parts: All are made.
        unreadable: Counts the images that cannot be read.
        recipe: JSON values of the manifest.

    Raises:
        UserError: Exit 3 when too many images cannot be read, or no pair could be embedded; exit 4
            for a part that is damaged or absent, or when another run has taken the folder.
    """
    parts.check()
    widths, kept, rejected = _counted(samples, parts)
    unreadable.add({row: reason for row, reason in rejected.items() if row not in samples.rejected})
    if not kept:
        raise nothing_embedded(samples, rejected)
    write_streamed(
        parts.out,
        (
            _with_texts(samples, part)
            for part in parts.loaded("image", "text", "rows")
            if len(part["rows"])
        ),
        shapes=((kept, widths[0]), (kept, widths[1])),
        dtype=np.dtype(np.float32),
        manifest={
            **recipe,
            "kept": kept,
            "rejected": {str(row): reason for row, reason in sorted(rejected.items())},
        },
    )
    reasons = dict(sorted(Counter(rejected.values()).items()))
    print(
        f"{len(samples)} pairs = {kept} embedded + {len(rejected)} rejected {reasons}",
        file=sys.stderr,
    )


def _counted(samples: Samples, parts: Parts) -> tuple[tuple[int, int], int, dict[int, str]]:
    """Return widths of image and text embeddings, kept rows, and reasons of the others."""
    rejected, kept, widths = dict(samples.rejected), 0, (0, 0)
    for number in range(len(parts)):
        part = parts.load(number, "rows", "rejected")
        rejected.update(part["rejected"])
        if len(part["rows"]) and not kept:
            widths = tuple(parts.load(number, name)[name].shape[1] for name in ("image", "text"))
        kept += len(part["rows"])
    return widths, kept, rejected


def _with_texts(samples: Samples, part: dict[str, np.ndarray]) -> EmbeddedRows:
    rows = part["rows"].tolist()
    return EmbeddedRows(
        part["image"],
        part["text"],
        part["rows"],
        [samples.caption(row) for row in rows],
        [samples.names[row] for row in rows],
        samples.groups[part["rows"]],
        samples.images[part["rows"]],
        [samples.urls[row] for row in rows],
    )
