"""The data sets and their pinned packages."""

import re

import pytest

from hardpairs.catalog import lite0_minilm
from hardpairs.catalog.sets import ELSEWHERE, TITLES, find_set
from hardpairs.core.errors import UserError


@pytest.mark.parametrize("name", TITLES)
def test_packages_are_pinned(name):
    data = find_set(name)
    assert data.packages
    for package in (*data.packages, lite0_minilm.IMAGE, lite0_minilm.TEXT):
        assert re.fullmatch(r"[0-9a-f]{64}", package.sha256)
        assert package.version.partition(":")[2] or package.version in package.file
    assert len({package.file for package in data.packages}) == len(data.packages)


def test_other_names():
    with pytest.raises(UserError, match="no data set 'icon'") as error:
        find_set("icon")
    assert error.value.code == 2 and "icons" in error.value.fix
    for name in ELSEWHERE:
        with pytest.raises(UserError, match=f"no package holds {name}"):
            find_set(name)
