"""Methods compared: reference, hero, paired tests and verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardpairs.evaluating.methods import HEADLINE, Difference, compare
from hardpairs.evaluating.runs import read_methods
from hardpairs.metrics.significance import paired_permutation_test
from hardpairs.reporting.summary import terminal_table
from tests.reporting.runs import write_data, write_four, write_hard_pairs, write_run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A CSV of pairs."""
    return write_data(tmp_path)


@pytest.fixture
def four(data: Path) -> list[Path]:
    """Runs of four methods."""
    return write_four(data)


class TestCompare:
    def test_reference_hero_and_order(self, four: list[Path]) -> None:
        comparison = compare(read_methods(four))
        assert comparison.reference is not None and comparison.hero is not None
        assert (comparison.reference.name, comparison.hero.name) == ("plain", "hard")
        others = compare(read_methods(four[3:] + four[:1]))
        assert others.reference is not None and others.hero is not None
        assert (others.reference.name, others.hero.name) == ("hard_sanw", "base")

    def test_difference_is_the_library_s(self, four: list[Path]) -> None:
        methods = read_methods(four)
        difference = compare(methods).differences["hard"]["text_to_image_R@5"]
        ours, theirs = (
            method.first.queries["text_to_image_ranks"] <= 5 for method in (methods[2], methods[1])
        )
        assert difference.p == paired_permutation_test(ours, theirs)
        assert difference.value == pytest.approx(ours.mean() - theirs.mean())

    def test_other_numbers_of_seeds(self, data: Path) -> None:
        write_hard_pairs(data)
        folders = [write_run(data, "plain", seed) for seed in (0, 1, 2)] + [
            write_run(data, "hard", seed) for seed in (1, 2)
        ]
        difference = compare(read_methods(folders)).differences["hard"]["text_to_image_R@1"]
        assert difference.p is not None and len(difference.by_seed) == 2

    @pytest.mark.parametrize(
        ("difference", "verdict"),
        [
            (Difference(0.1, 0.01, 0.0, 0.2, (0.1,), 1), "better"),
            (Difference(0.1, 0.01, 0.0, 0.2, (0.1,), -1), "worse"),
            (Difference(0.1, 0.2, -0.1, 0.2, (0.1,), 1), "unclear"),
            (Difference(0.1, 0.01, 0.0, 0.2, (0.3, -0.1), 1), "unclear"),
            (Difference(0.1, None, None, None, (0.1,), 1), "untested"),
        ],
    )
    def test_verdict(self, difference: Difference, verdict: str) -> None:
        assert difference.verdict == verdict

    def test_without_the_hard_pair_questions(self, data: Path) -> None:
        comparison = compare(read_methods([write_run(data, "plain"), write_run(data, "hard")]))
        assert not comparison.has(HEADLINE[-1])
        assert "beats" not in terminal_table(comparison)
