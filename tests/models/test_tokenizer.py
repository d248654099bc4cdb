"""The word tokenizers and models that use them, by cases worked by hand."""

import open_clip
import torch

from hardpairs.models.model_config import (
    make_tokenizer,
    register_configs,
    uses_words,
    vocabulary_of,
)
from hardpairs.models.tokenizer import PlainWordTokenizer, WordTokenizer, build_vocabulary


def test_vocabulary_is_by_frequency_then_first_seen():
    assert build_vocabulary(["b a", "a c", "d"], 4 + 3) == ["a", "b", "c"]


def test_tokens():
    tokenizer = WordTokenizer(["red", "square"], 5)
    assert tokenizer("a red square").tolist() == [[2, 1, 4, 5, 3]]
    assert tokenizer(["", "red red red red red red"]).tolist() == [[2, 3, 0, 0, 0], [2, 4, 4, 4, 3]]


def test_text_feature_is_taken_at_the_end_token():
    register_configs()
    torch.manual_seed(0)
    model = open_clip.create_model("hardpairs-test").eval()
    tokenizer = WordTokenizer(["red", "square"], 12)
    with torch.no_grad():
        short, padded = (
            model.encode_text(tokenizer("red square")),
            model.encode_text(tokenizer("red square")[:, :]),
        )
        tokens = tokenizer("red square")
        tokens[0, 5] = 5  # behind the end token
        changed = model.encode_text(tokens)
    torch.testing.assert_close(short, padded)
    torch.testing.assert_close(short, changed)


def test_vocabulary_is_cut_to_size_with_ties_by_first_seen():
    captions = [
        "mug on chair",
        "Chair, mug.",
        "dog on mug",
    ]  # mug 3, then on 2 and chair 2, of which "on" comes first
    assert build_vocabulary(captions, 5000, "compounds") == ["mug", "on", "chair", "dog"]
    assert build_vocabulary(captions, 6, "compounds") == ["mug", "on"]
    assert vocabulary_of("miniclip-lstm", captions) == ["mug", "on", "chair", "dog"]


def test_ids_of_miniclips_tokenizer():
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
