"""The choice of subjects, and their groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hardpairs.core.errors import Exit, UserError
from hardpairs.demo.options import DemoOptions
from hardpairs.demo.pairs import build_pairs
from hardpairs.demo.subjects import Subject, groups_of, pick


def test_more_pairs_than_drawings_says_how_many_there_can_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs 5000 drawings") as caught:
        build_pairs(tmp_path, DemoOptions("emoji", 5000, 1, 0))
    assert caught.value.code == Exit.USAGE and "at most `pairs` 19" in caught.value.fix


def test_groups_join_by_concept_and_by_look() -> None:
    assert groups_of(["a", "b", "c", "a"], ["x", "x", "y", "y"]) == [0, 0, 0, 0]
    assert groups_of(["a", "b"], ["x", "y"]) == [0, 1]


def test_both_drawings_of_a_concept_are_taken(tmp_path: Path) -> None:
    subjects = [
        Subject(f"{vendor}-{number}", str(number), "", None)
        for vendor in "ab"
        for number in range(50)
    ]
    picked = pick(subjects, 20, np.random.default_rng(0))
    concepts = [subject.concept for subject in picked]
    assert len(picked) == 20 and len(set(concepts)) == 10
    assert concepts != [subject.concept for subject in pick(subjects, 20, np.random.default_rng(1))]
