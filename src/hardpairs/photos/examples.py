"""Queries that the page offers: in words that the model knows, and with an answer in the photos."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from hardpairs.models.encoders import Encoders
from hardpairs.models.tokenizer import WordTokenizer
from hardpairs.photos.index import Index
from hardpairs.photos.search import clean, similarities, text_vectors, unknown_words

OFFERED = 5
EVERYDAY = (
    *("a dog in the snow", "people around a table", "sunset over the sea", "something red"),
    *("an old building", "a child playing", "flowers", "a street at night", "a mountain", "a cat"),
    *("food on a plate", "a screenshot of text", "a car", "trees in autumn", "a boat", "a crowd"),
    *("a drawing", "a bicycle", "someone smiling", "a bird"),
)
"""Queries for photos without captions."""
CAPTIONS, WORDS = 40, 60
"""Captions, and words of a model's vocabulary, to choose from."""


def offered(index: Index, encoders: Encoders) -> list[str]:
    """Return the queries to offer, the one with the clearest answer first.

    They are short captions of the photos. Where there are none, they are everyday things, and for a
    model with a vocabulary of its own the words that it has read most often.

    Args:
        index: The photos.
        encoders: The model.
    """
    texts = _known(_captions(index), encoders)
    if not texts:
        tokenizer = encoders.text.prepare
        words = tokenizer.vocabulary[:WORDS] if isinstance(tokenizer, WordTokenizer) else []
        texts = _known([*EVERYDAY, *(word for word in words if len(word) > 2)], encoders)
    if not texts or not len(index):
        return []
    clear = [_clearness(similarities(index, vector)) for vector in text_vectors(encoders, texts)]
    order = np.argsort(-np.array(clear), kind="stable")[:OFFERED]
    return [texts[place] for place in order]


def _captions(index: Index) -> list[str]:
    rows = random.Random(0).sample(range(len(index)), min(5 * CAPTIONS, len(index)))
    short = {text for text in (index.photos.notes[row] for row in rows) if 3 < len(text) <= 40}
    return sorted(short)[:CAPTIONS]


def _known(texts: Sequence[str], encoders: Encoders) -> list[str]:
    return [text for text in texts if clean(text) and not unknown_words(encoders, [text])]


def _clearness(scores: np.ndarray) -> float:
    """Return how far the best photo is above the background, by the farthest one below it."""
    background = float(np.median(scores))
    return (float(scores.max()) - background) / max(background - float(scores.min()), 1e-6)
