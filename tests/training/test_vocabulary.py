"""Where the words of a model that reads words come from."""

import pytest

from hardpairs.core.errors import UserError
from hardpairs.training.samples import SampleOptions
from hardpairs.training.vocabulary import run_vocabulary, vocabulary_captions

OPTIONS = SampleOptions(separator=",")


def test_words_are_those_of_the_start_checkpoint_or_of_captions(checkpoint):
    words = run_vocabulary("hardpairs-test", str(checkpoint), lambda: pytest.fail("not needed"))
    assert words is not None and "picture" in words
    new = run_vocabulary("hardpairs-test", None, lambda: ["a red bird", "a red tree"])
    assert new is not None and "bird" in new and "picture" not in new
    assert run_vocabulary("hardpairs-test", None, None) is None
    assert run_vocabulary("ViT-B-32", None, lambda: ["a red bird"]) is None


def test_captions_of_the_training_data_or_of_a_file(table):
    assert len(list(vocabulary_captions(None, str(table), OPTIONS))) == 40
    assert list(vocabulary_captions(str(table), "another.csv", OPTIONS))[3] == "picture number 3"


def test_all_captions_need_a_split(table):
    with pytest.raises(UserError, match="`vocabulary_from` all"):
        vocabulary_captions("all", str(table), OPTIONS)
