"""MiniCLIP's tokenizer, by cases worked by hand."""

import pytest
import torch

from hardpairs.models.load import make_tokenizer, uses_words, vocabulary_of
from hardpairs.models.plain_words import SIGNS, PlainWordTokenizer, split_plain_words
from hardpairs.models.words import build_vocabulary


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        (
            "White chair on dark hardwood floor",
            ["white", "chair", "on", "dark", "hardwood", "floor"],
        ),
        ("  The cat's T-shirt (red)! ", ["the", "cat", "s", "t-shirt", "red"]),
        ('a;b:c,"d"[e]f?', ["a", "b", "c", "d", "e", "f"]),
        ("50% off_now #1 & más\tÉTÉ\u00a0x", ["50%", "off_now", "#1", "&", "más", "été", "x"]),
        ("?!", []),
        ("", []),
    ],
)
def test_words_are_what_stands_between_the_signs(caption, words):
    assert split_plain_words(caption) == words


def test_the_signs_are_the_twelve():
    assert sorted(SIGNS) == sorted([",", ".", "!", "?", ":", ";", "'", '"', "(", ")", "[", "]"])


def test_vocabulary_is_cut_to_size_with_ties_by_first_seen():
    captions = [
        "mug on chair",
        "Chair, mug.",
        "dog on mug",
    ]  # mug 3, then on 2 and chair 2, of which "on" comes first
    assert build_vocabulary(captions, 5000, split_plain_words) == ["mug", "on", "chair", "dog"]
    assert build_vocabulary(captions, 6, split_plain_words) == ["mug", "on"]
    assert vocabulary_of("miniclip-lstm", captions) == ["mug", "on", "chair", "dog"]


def test_ids():
    tokenizer = PlainWordTokenizer(["mug", "on", "chair"], 4)
    assert tokenizer(["Mug on CHAIR.", "a mug", "", "mug mug mug mug mug"]).tolist() == [
        [4, 5, 6, 0],
        [1, 4, 0, 0],
        [0] * 4,
        [4] * 4,
    ]
    assert tokenizer("mug").shape == (1, 4) and tokenizer("mug").dtype == torch.int64
    assert make_tokenizer("miniclip-lstm", ["mug"])("mug").shape == (1, 32)
    assert uses_words("miniclip-transformer-cnn") and not uses_words("RN50")
