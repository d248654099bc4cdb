"""Stories to link."""

import pytest

from tests.linking.stories import write_news


@pytest.fixture
def news(tmp_path):
    """(folder, story of each row): see ``write_news``."""
    return write_news(tmp_path)
