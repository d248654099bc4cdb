"""Queries that the report shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardpairs.data.opening import open_samples
from hardpairs.data.samples import Samples
from hardpairs.evaluating.methods import compare
from hardpairs.evaluating.runs import DIRECTIONS, read_methods
from hardpairs.pages.album import Album
from hardpairs.reporting.examples import example_queries, kinds_of_queries
from hardpairs.reporting.page import make_page, render


class TestExamples:
    def test_kinds_do_not_overlap(self, four: list[Path]) -> None:
        comparison = compare(read_methods(four))
        for direction in DIRECTIONS:
            masks = np.array([mask for _, mask in kinds_of_queries(comparison, direction)])
            assert masks.sum(axis=0).max() <= 1

    def test_marks_are_right_and_groups_differ(self, four: list[Path], samples: Samples) -> None:
        comparison = compare(read_methods(four))
        for kinds in example_queries(comparison, Album(samples)).values():
            for kind in kinds:
                groups = [samples.group(example.query.row) for example in kind.examples]
                assert len(set(groups)) == len(groups) == min(kind.count, 3) or kind.count > len(
                    groups
                )
                for example, group in zip(kind.examples, groups, strict=True):
                    for answers in example.answers:
                        assert [right for _, right in answers.images] == [
                            samples.group(p.row) == group for p, _ in answers.images
                        ]
                        assert (answers.rank == 1) == answers.images[0][1]

    def test_page_shows_that_it_is_none(self, four: list[Path]) -> None:
        album, comparison = (
            Album(open_samples(four[0].parent / "pairs.csv")),
            compare(read_methods(four)),
        )
        page = render(make_page(comparison))
        kinds = example_queries(comparison, album)["text_to_image"]
        rows = {
            shown.row
            for kind in kinds
            for e in kind.examples
            for a in e.answers
            for shown, _ in a.images
        }
        assert (5 in rows) <= ("an unreadable image" in page)
