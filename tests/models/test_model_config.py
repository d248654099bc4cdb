"""Which models read words, and their tokenizers."""

import pytest

from hardpairs.core.errors import UserError
from hardpairs.models.model_config import make_tokenizer


def test_a_word_model_without_words_is_refused():
    with pytest.raises(UserError, match="needs a vocabulary"):
        make_tokenizer("hardpairs-test")
    assert make_tokenizer("RN50", None)(["a"]).shape == (1, 77)
