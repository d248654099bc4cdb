"""The page of hard pairs: suspicious ones first."""

import numpy as np

from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.samples import open_samples
from hardpairs.reporting.pair_page import make_page


def in_memory(indices, scores, **manifest):
    lengths = (indices >= 0).sum(axis=1).astype(np.int32)
    return HardPairTable(
        indices.astype(np.int32), lengths, scores, {"dataset_fingerprint": "x", **manifest}
    )


def test_suspicious_pairs_come_first_on_the_page(table):
    captions = {3: "two small dogs", 7: "Two small dogs!", 11: "a small dog", 20: "nothing else"}
    text = table.read_text()
    for row, caption in captions.items():
        text = text.replace(f"picture number {row}\n", f"{caption}\n")
    table.write_text(text)
    indices, scores = np.full((40, 2), -1), np.zeros((40, 2), np.float32)
    for row, partners, values in (
        (3, (20, 7), (0.6, 0.2)),
        (11, (3, 20), (0.3, 0.1)),
        (20, (3, 11), (0.95, 0.9)),
        (30, (3, 7), (0.4, 0.1)),
    ):
        indices[row], scores[row] = partners, values
    samples = open_samples(table)
    page = make_page({"HPM": in_memory(indices, scores)}, samples, command="x")
    assert [target.image.row for target in page.suspicious] == [
        3,
        20,
        11,
    ]  # the last is not like its partners
    assert [pair.suspicious for pair in page.suspicious[0].hard_pairs] == [
        "",
        "the captions have the same words",
    ]
