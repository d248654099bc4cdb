"""A word tokenizer for small vocabularies: OpenCLIP's 49,408-entry table costs a small tower more than all the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

import torch

PAD, UNKNOWN, START, END = range(4)
SPECIALS = 4
_WORD = re.compile(
    r"[^\W_]+|[^\w\s]|_"
)  # a run of letters and digits, or one other sign: "keycap #" is not "keycap *"


def split_words(text: str) -> list[str]:
    """Lower-case words and single signs of a caption.

    Example:
        >>> split_words("Keycap: #")
        ['keycap', ':', '#']
    """
    return _WORD.findall(text.lower())


def build_vocabulary(
    captions: Iterable[str], max_size: int, split: Callable[[str], list[str]] = split_words
) -> list[str]:
    """The most frequent words, ties by first appearance; at most ``max_size`` ids, the four special ones included."""
    counts = Counter(word for caption in captions for word in split(caption))
    return [word for word, _ in counts.most_common(max_size - SPECIALS)]


class WordTokenizer:
    """Captions to token ids; called like OpenCLIP's tokenizers.

    Args:
        vocabulary: words; word i has id ``SPECIALS + i``.
        context_length: tokens per caption, start and end included; longer captions are cut before the end token.

    Example:
        >>> WordTokenizer(["red", "square"], 5)("a red square")
        tensor([[2, 1, 4, 5, 3]])
    """

    def __init__(self, vocabulary: list[str], context_length: int) -> None:
        self.vocabulary = list(vocabulary)
        self.context_length = context_length
        self.ids = {word: SPECIALS + i for i, word in enumerate(self.vocabulary)}

    def __call__(self, texts: str | list[str], context_length: int | None = None) -> torch.Tensor:
        """Returns int64 ids, shape (texts, context_length)."""
        length = context_length or self.context_length
        texts = [texts] if isinstance(texts, str) else texts
        tokens = torch.full((len(texts), length), PAD, dtype=torch.int64)
        for row, text in enumerate(texts):
            ids = self._encode(text, length)
            tokens[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        return tokens

    def unknown_words(self, text: str) -> list[str]:
        """Words of a caption that the model has never read."""
        return [word for word in self._split(text) if word not in self.ids]

    def _split(self, text: str) -> list[str]:
        return split_words(text)

    def _encode(self, text: str, length: int) -> list[int]:
        """At most ``length`` ids of a caption."""
        return [
            START,
            *(self.ids.get(word, UNKNOWN) for word in self._split(text)[: length - 2]),
            END,
        ]
