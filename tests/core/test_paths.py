"""Paths that lead nowhere; what is no plain path is left to those who read it."""

import pytest

from hardpairs.core.errors import UserError
from hardpairs.core.paths import check_exists, check_weights


def test_a_path_that_leads_nowhere(tmp_path):
    check_exists(tmp_path)
    with pytest.raises(UserError, match="no such folder") as error:
        check_exists(tmp_path / "x", "folder")
    assert error.value.code == 2 and error.value.where == str(tmp_path / "x")


@pytest.mark.parametrize(
    "name", ["http://x/y.csv", "data/{00..03}.tar", "data/*.tar", "a.tar::b.tar", "pipe:cat x.tar"]
)
def test_no_plain_paths(name):
    check_exists(name)


def test_weights(tmp_path):
    for name in (None, "", "none", "openai", "laion2b_s34b_b79k", "logs/*/epoch_1.pt"):
        check_weights(name)
    with pytest.raises(UserError, match="no such checkpoint"):
        check_weights(str(tmp_path / "epoch_1.pt"))
