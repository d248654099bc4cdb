"""Stored embeddings of random pairs, two neighbors of which share a caption."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardpairs.data.embeddings import write_embeddings


def write_random_embeddings(folder: Path, count: int = 40) -> Path:
    """Write embeddings whose halves have different widths."""
    rng, rows = np.random.default_rng(0), np.arange(count)
    image, text = (rng.standard_normal((count, width)).astype(np.float32) for width in (6, 5))
    captions = [f"caption {row // 2}" for row in rows]
    facts = {"rows": rows, "captions": captions, "keys": captions, "groups": rows}
    write_embeddings(folder, image=image, text=text, **facts, manifest={"kind": "embeddings"})
    return folder
