"""What the part for hard pairs says where there is no pair to decide on."""

import numpy as np

from hardpairs.data.hard_pairs import table_folder, write_table
from hardpairs.data.opening import open_samples
from hardpairs.photos.review import Review, Sitting
from hardpairs.photos.review_part import shown_pair
from tests.helpers import ragged_table


def test_a_table_without_pairs_is_not_one_that_is_done(table, tmp_path):
    samples = open_samples(table)
    nothing = np.full((40, 6), -1, np.int32), np.zeros((40, 6), np.float32)
    opened = write_table(
        table_folder(tmp_path, "pairs"), *nothing, {"dataset_fingerprint": samples.fingerprint}
    )
    assert (
        "holds no hard pair"
        in shown_pair(Review(opened, samples, tmp_path / "rejected.json"), Sitting())[0]
    )


def test_what_is_said_when_all_is_decided(table, tmp_path):
    samples = open_samples(table)
    indices, scores = ragged_table(40, 6, fullest=True)
    opened = write_table(
        table_folder(tmp_path, "pairs"),
        indices,
        scores,
        {"dataset_fingerprint": samples.fingerprint},
    )
    review = Review(opened, samples, tmp_path / "rejected.json")
    for _ in range(len(review.pairs)):
        suspicion = review.next(set())
        review.accept(review.pair(suspicion))
    said = f"Nothing is left to decide of the {len(review.pairs)} most suspicious pairs, at most one for each row, of 240 in the table."
    assert len(review.pairs) <= 40 and said in shown_pair(review, Sitting())[0]
