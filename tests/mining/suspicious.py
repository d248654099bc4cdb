"""Pairs of which some look like false negatives."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardpairs.data.hard_pairs import HardPairTable

CAPTIONS = {3: "two small dogs", 7: "Two small dogs!", 11: "a small dog", 20: "nothing else"}


def in_memory(indices: np.ndarray, scores: np.ndarray, **manifest: object) -> HardPairTable:
    """Return a table that is in no folder."""
    lengths = (indices >= 0).sum(axis=1).astype(np.int32)
    content = {"dataset_fingerprint": "x", **manifest}
    return HardPairTable(indices.astype(np.int32), lengths, scores, content)


def suspicious_table(data: Path) -> HardPairTable:
    """Give some rows of a CSV of 40 pictures similar captions, and return a table of their pairs."""
    text = data.read_text()
    for row, caption in CAPTIONS.items():
        text = text.replace(f"picture number {row}\n", f"{caption}\n")
    data.write_text(text)
    indices, scores = np.full((40, 2), -1), np.zeros((40, 2), np.float32)
    for row, hard_pairs, values in (
        (3, (20, 7), (0.6, 0.2)),
        (11, (3, 20), (0.3, 0.1)),
        (20, (3, 11), (0.95, 0.9)),
        (30, (3, 7), (0.4, 0.1)),
    ):
        indices[row], scores[row] = hard_pairs, values
    return in_memory(indices, scores)
