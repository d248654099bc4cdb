"""A captioned collection."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardpairs.cli.demo_data import main
from hardpairs.core.errors import UserError
from hardpairs.demo.collection import build_collection, in_a_word
from hardpairs.demo.subjects import subjects_of
from tests.demo.made import scene_options


def test_a_collection_has_two_captions_of_each_photograph_and_drawings_that_pairs_leave(
    tmp_path: Path,
) -> None:
    from hardpairs.data.opening import open_samples

    options = scene_options(kind="emoji", pairs=60, views=2, layout="captions")
    assert build_collection(tmp_path, options) and not build_collection(tmp_path, options)
    samples = open_samples(tmp_path / "captions.json")
    assert (
        len(set(samples.images)) == 60 == len(list((tmp_path / "images").glob("*.jpg")))
        and 60 < len(samples) <= 120
    )
    assert all(in_a_word(caption) in samples.captions for caption in samples.captions)
    others = subjects_of(scene_options(kind="emoji", pairs=1800, views=1))
    assert len(others) == 1800 and not {subject.concept for subject in others} & {
        subject.concept for subject in subjects_of(options)
    }
    assert (
        main(
            [
                "--out",
                str(tmp_path / "b"),
                "--layout",
                "captions",
                "--pairs",
                "60",
                "--views",
                "2",
                "--kind",
                "scenes",
            ]
        )
        == 0
    )
    (tmp_path / "images/00000_00.jpg").unlink()
    with pytest.raises(UserError, match="missing or changed"):
        build_collection(tmp_path, options)
