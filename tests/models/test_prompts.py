"""The names of classes in prompts."""

import pytest

from hardpairs.core.errors import UserError
from hardpairs.models.prompts import prompt_names


def test_ids_of_imagenet_have_openclips_names() -> None:
    folders = ["n01440764", "n01443537", "n02102040", "n03000684"]
    names = ["tench", "goldfish", "English Springer Spaniel", "chainsaw"]
    assert prompt_names(folders, "val") == names
    assert prompt_names(["great_cat", "n1"], "val") == ["great cat", "n1"]
    numbers = sorted(map(str, range(1000)))
    of_number = dict(zip(numbers, prompt_names(numbers, "v2"), strict=True))
    assert (of_number["0"], of_number["1"], of_number["217"]) == (names[0], names[1], names[2])
    with pytest.raises(UserError, match="1 class folders are WordNet ids") as error:
        prompt_names(["n01440764", "n99999999"], "val")
    assert error.value.code == 3 and "n99999999" in error.value.where
