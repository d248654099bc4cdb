"""A trained and evaluated run for the figures."""

import pytest

from tests.photos.runs import write_logs, write_photos, write_run


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


@pytest.fixture
def evaluated(photos):
    """A trained and evaluated run; one picture is gone since."""
    folder = write_run(photos, "run", "lstm", noise=1.5)
    write_logs(folder)
    (photos.parent / "images/2.jpg").unlink()
    return folder
