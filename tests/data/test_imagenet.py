"""ImageNet's class folders."""

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.imagenet import check_imagenet_folder, imagenet_ids


def test_ids_are_in_openclips_order():
    ids = imagenet_ids()
    assert len(ids) == 1000 and ids == sorted(ids)
    assert ids[:2] == ["n01440764", "n01443537"] and ids[-1] == "n15075141"


@pytest.mark.parametrize("names", [("n01440764", "n02102040"), ("n01443537",)])
def test_a_subset_that_would_be_numbered_wrongly_is_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="not ImageNet's 1,000") as error:
        check_imagenet_folder(str(tmp_path))
    assert error.value.code == 3 and names[-1] in error.value.where


def test_the_first_classes_and_other_names_pass(tmp_path):
    for folder, names in (("first", imagenet_ids()[:3]), ("other", ["cat", "dog"])):
        for name in names:
            (tmp_path / folder / name).mkdir(parents=True)
        check_imagenet_folder(str(tmp_path / folder))
