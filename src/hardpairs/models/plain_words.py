"""MiniCLIP's word tokenizer: a caption is its words, and nothing marks its start or end."""

from __future__ import annotations

from hardpairs.models.words import UNKNOWN, WordTokenizer

SIGNS = ",.!?:;'\"()[]"
"""What stands between words, as white space does. Any other sign is part of its word: ``t-shirt`` is one."""
_AS_SPACE = str.maketrans(dict.fromkeys(SIGNS, " "))


def split_plain_words(text: str) -> list[str]:
    """Lower-case words of a caption.

    Example:
        >>> split_plain_words("The cat's T-shirt (red)!")
        ['the', 'cat', 's', 't-shirt', 'red']
    """
    return text.lower().translate(_AS_SPACE).split()


class PlainWordTokenizer(WordTokenizer):
    """Captions to token ids; called like OpenCLIP's tokenizers.

    The ids of a start and an end are kept free, as in MiniCLIP, whose checkpoints have rows for them, and are in no caption.

    Example:
        >>> PlainWordTokenizer(["red", "square"], 4)("A red square.")
        tensor([[1, 4, 5, 0]])
    """

    def _split(self, text: str) -> list[str]:
        return split_plain_words(text)

    def _encode(self, text: str, length: int) -> list[int]:
        return [self.ids.get(word, UNKNOWN) for word in self._split(text)[:length]]
