"""A trained and evaluated run for the figures."""

import pytest

from tests.photos.runs import write_evaluated, write_photos


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


@pytest.fixture
def evaluated(photos):
    return write_evaluated(photos)
