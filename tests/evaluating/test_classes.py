"""Prompts and class folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardpairs.core.errors import UserError
from hardpairs.evaluating.classes import probe, read_prompts
from tests.helpers import picture


def test_prompts(tmp_path: Path) -> None:
    assert len(read_prompts(None)) == 80 and all(
        text.count("{}") == 1 for text in read_prompts(None)
    )
    (tmp_path / "prompts.txt").write_text("a photo of {}.\n\n  a drawing of {}\n")
    assert read_prompts(str(tmp_path / "prompts.txt")) == ["a photo of {}.", "a drawing of {}"]


@pytest.mark.parametrize(("text", "code"), [(None, 2), ("", 3), ("a photo\n", 3), ("{} {}\n", 3)])
def test_prompts_that_are_refused(tmp_path: Path, text: str | None, code: int) -> None:
    if text is not None:
        (tmp_path / "prompts.txt").write_text(text)
    with pytest.raises(UserError) as error:
        read_prompts(str(tmp_path / "prompts.txt"))
    assert error.value.code == code


def test_a_probe_of_classes_that_were_not_trained_is_refused(tmp_path: Path) -> None:
    for name in ("train/cat", "train/dog", "test/cat", "test/fox"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "0.jpg").write_bytes(picture(0))
    with pytest.raises(UserError, match="1 of 3 classes have no image") as error:
        probe(str(tmp_path), None, {})  # type: ignore[arg-type]
    assert error.value.code == 3 and "fox" in error.value.where
