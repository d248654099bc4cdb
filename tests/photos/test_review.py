"""Decisions on hard pairs, in a file that two pages may have open."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.opening import open_samples
from hardpairs.photos.review import Review, Sitting, open_review


@pytest.fixture
def mined(hard_pairs):
    """The table of six hard pairs for each row."""
    return hard_pairs.with_name("pairs_hard_pairs")


def test_the_file_of_decisions_lies_beside_the_table(table, mined, tmp_path):
    samples = open_samples(table)
    review = open_review(mined, samples)
    review.reject(8)
    review.reject(3)
    review.restore(8)
    content = json.loads((tmp_path / "rejected.json").read_text())
    assert content["rows"] == [3] and content["dataset_fingerprint"] == review.samples.fingerprint
    assert open_review(mined, samples, tmp_path / "other.json").decided() == 0
    assert "of 240 in the table" in review.scope()


@pytest.mark.parametrize("text", ["3\n", "3 # a dog\n7\n", "# nothing as yet\n"])
def test_a_list_of_a_persons_own_is_not_written_over(table, mined, tmp_path, text):
    samples, path = open_samples(table), tmp_path / "rows.txt"
    path.write_text(text)
    opened = HardPairTable.open(mined)
    with pytest.raises(UserError, match="cannot write a list of row numbers") as error:
        Review(opened, samples, path)
    assert error.value.code == 2 and "NAME.json" in error.value.fix and path.read_text() == text
    review = Review(opened, samples, tmp_path / "rejected.json")
    (tmp_path / "rejected.json").write_text(text)  # while the page is open
    with pytest.raises(UserError):
        review.reject(1)
    assert (tmp_path / "rejected.json").read_text() == text


def test_a_review_against_plain_sets(table, mined, tmp_path):
    samples, opened = open_samples(table), HardPairTable.open(mined)
    review, again = (
        Review(opened, samples, tmp_path / "rejected.json") for _ in range(2)
    )  # two pages on one file
    pairs = [review.pair(suspicion) for suspicion in review.pairs]
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) and {
        row for row, _ in pairs
    } <= set(range(40))
    rejected, accepted, rng = set(), set(), np.random.default_rng(0)
    for step in range(30):
        page, other = (review, again) if step % 2 else (again, review)
        suspicion = page.next(set())
        open_pairs = [pair for pair in pairs if pair not in accepted and not rejected & set(pair)]
        if suspicion is None:
            assert not open_pairs
            break
        pair = page.pair(suspicion)
        assert pair == open_pairs[0]
        if rng.random() < 0.5:
            page.accept(pair)
            accepted.add(pair)
        else:
            page.reject(pair[1])
            rejected.add(pair[1])
        assert other.decisions().rejected == rejected and other.decisions().accepted == accepted
    assert review.decided() == sum(pair in accepted or bool(rejected & set(pair)) for pair in pairs)


def test_a_sitting(table, mined, tmp_path):
    """What is skipped, decided and taken back."""
    review = open_review(mined, open_samples(table), tmp_path / "rejected.json")

    def following(sitting):
        return review.pair(review.next(set(sitting.skipped)))

    sitting = Sitting()
    assert sitting.undo(review) == sitting == sitting.back()
    first = following(sitting)
    kept = sitting.keep(review, first)
    second = following(kept)
    skipped = kept.skip(second)
    third = following(skipped)
    assert len({first, second, third}) == 3 and following(skipped.back()) == second
    done = skipped.reject(review, third[1])
    assert review.decisions().rejected == {third[1]} and review.decisions().accepted == {first}
    done = done.undo(review)
    assert review.decisions().rejected == set() and following(done) == third
    done = done.undo(review)
    assert review.decisions().accepted == set() and following(done) == first
    assert done.skipped == (second,)
