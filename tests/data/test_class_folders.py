"""Class folders."""

from hardpairs.data.class_folders import class_names, class_of
from hardpairs.data.opening import open_samples
from hardpairs.data.samples import FOLDER
from tests.helpers import picture


def test_classes_are_folders(tmp_path):
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_bytes(picture(0))
    samples = open_samples(str(tmp_path), group_key=FOLDER)
    assert class_names(samples) == ["cat", "dog"]
    assert [class_of(samples, row) for row in range(2)] == ["cat", "dog"]
