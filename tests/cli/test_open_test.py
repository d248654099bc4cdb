"""``hardpairs compare open-test`` on folders that hold no study; tests/recipes has the others."""

from __future__ import annotations

import pytest

from hardpairs.cli.open_test import main
from hardpairs.core.errors import UserError


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no study") as error:
        main([str(tmp_path)])
    assert error.value.code == 3 and not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError) as error:
        main([str(tmp_path / "nowhere")])
    assert error.value.code == 2
