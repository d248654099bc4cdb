"""Options of demonstration data that make no sense."""

from __future__ import annotations

import pytest

from hardpairs.core.errors import Exit, UserError
from tests.demo.made import scene_options


@pytest.mark.parametrize(
    "changes", [{"pairs": 0}, {"views": 0}, {"seed": -1}, {"second_vendor": "x"}]
)
def test_options_that_make_no_sense_are_usage_errors(changes: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        scene_options(**changes)
    assert caught.value.code == Exit.USAGE
