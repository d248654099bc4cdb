"""Word tokenizers for small vocabularies.

OpenCLIP's table of 49,408 tokens costs a small model more than all the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import torch

from hardpairs.data.words import Rule, split_words

PAD, UNKNOWN, START, END = range(4)
SPECIALS = 4
"""Number of ids before the first word's."""


def build_vocabulary(captions: Iterable[str], max_size: int, rule: Rule = "signs") -> list[str]:
    """Return the most frequent words of captions, ties by first appearance.

    Args:
        captions: Texts to count words in.
        max_size: Number of ids at most, the special ones included.
        rule: How captions are split into words.
    """
    counts = Counter(word for caption in captions for word in split_words(caption, rule))
    return [word for word, _ in counts.most_common(max_size - SPECIALS)]


class WordTokenizer:
    """Captions to token ids, between those of a start and an end; called like OpenCLIP's.

    Args:
        vocabulary: Words; word i has the id ``SPECIALS + i``.
        context_length: Tokens per caption, start and end included. Longer captions are cut before
            the end token.

    Example:
        >>> WordTokenizer(["red", "square"], 5)("a red square")
        tensor([[2, 1, 4, 5, 3]])
    """

    rule: Rule = "signs"

    def __init__(self, vocabulary: list[str], context_length: int) -> None:
        self.vocabulary = list(vocabulary)
        self.context_length = context_length
        self.ids = {word: SPECIALS + i for i, word in enumerate(self.vocabulary)}

    def __call__(self, texts: str | list[str], context_length: int | None = None) -> torch.Tensor:
        """Return token ids, (T, L) int64."""
        length = context_length or self.context_length
        texts = [texts] if isinstance(texts, str) else texts
        tokens = torch.full((len(texts), length), PAD, dtype=torch.int64)
        for row, text in enumerate(texts):
            ids = self._encode(text, length)
            tokens[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        return tokens

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a text that are not in the vocabulary."""
        return [word for word in split_words(text, self.rule) if word not in self.ids]

    def _encode(self, text: str, length: int) -> list[int]:
        return [START, *self._word_ids(text, length - 2), END]

    def _word_ids(self, text: str, count: int) -> list[int]:
        return [self.ids.get(word, UNKNOWN) for word in split_words(text, self.rule)[:count]]


class PlainWordTokenizer(WordTokenizer):
    """MiniCLIP's tokenizer: the ids of a caption's words, without a start or an end.

    The ids of a start and an end are reserved, since MiniCLIP's checkpoints have rows for them, but
    no caption contains them.

    Example:
        >>> PlainWordTokenizer(["red", "square"], 4)("A red square.")
        tensor([[1, 4, 5, 0]])
    """

    rule: Rule = "compounds"

    def _encode(self, text: str, length: int) -> list[int]:
        return self._word_ids(text, length)
