"""Split captions and texts into words: one function, and a named rule for each format."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Rule = Literal["letters", "signs", "compounds", "printed", "unicode"]
SEPARATORS = ",.!?:;'\"()[]"
"""The signs that the rule ``compounds`` reads as spaces (MiniCLIP's)."""

_PATTERNS = {
    "letters": re.compile(r"[^\W_]+"),
    "signs": re.compile(r"[^\W_]+|[^\w\s]|_"),
    "compounds": re.compile(rf"[^\s{re.escape(SEPARATORS)}]+"),
}
_PUNCTUATION = str.maketrans("", "", "\"#$%&()*+/:;<=>@[\\]^_`{|}~.?,!'")
_SCRIPTS = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Han
)
_UNSPACED = re.compile(rf"[{_SCRIPTS}]|[^\s{_SCRIPTS}]+")
"""A sign of a script without spaces between words, or a word."""
_PRINTED_WORD = re.compile(r"\S+", re.ASCII)


def split_words(text: str, rule: Rule = "letters") -> list[str]:
    r"""Return the words of a text in lower case.

    Args:
        text: Any text; letters of all alphabets are letters.
        rule: What a word is.
            ``letters``: a run of letters and digits.
            ``signs``: the same, and each other sign is a word, so that "keycap #" and "keycap *"
            differ.
            ``compounds``: a run of anything but spaces and ``SEPARATORS``, so that "t-shirt" is one
            word.
            ``printed``: what CLIPPINGS' ``jaccard_sim.py`` compares. Words cut at the end of a
            line are joined, punctuation is deleted, and so is what is not ASCII, except that a word
            without an ASCII character keeps its letters.
            ``unicode``: the same for every alphabet: of each word the letters, marks, digits and
            hyphens are kept. In scripts without spaces (Chinese, Japanese, Thai) each sign is a
            word.

    Example:
        >>> split_words("The cat's T-shirt!")
        ['the', 'cat', 's', 't', 'shirt']
        >>> split_words("Keycap: #", "signs")
        ['keycap', ':', '#']
        >>> split_words("The cat's T-shirt (red)!", "compounds")
        ['the', 'cat', 's', 't-shirt', 'red']
        >>> split_words("The Presi-\ndent, today: YES.", "printed")
        ['the', 'president', 'today', 'yes']
        >>> split_words("Café 写真", "unicode")
        ['café', '写', '真']
    """
    if rule == "unicode":
        return _unicode_words(text)
    if rule == "printed":
        joined = text.replace("-\n", "").translate(_PUNCTUATION)
        return [word for word in map(_printed_word, _PRINTED_WORD.findall(joined)) if word]
    return _PATTERNS[rule].findall(text.lower())


def _unicode_words(text: str) -> list[str]:
    if text.isascii():
        return split_words(text, "printed")
    joined = unicodedata.normalize("NFKC", text).replace("-\n", "").lower()
    kept = (
        sign if sign == "-" or unicodedata.category(sign)[0] in "LMN" else " " * sign.isspace()
        for sign in joined
    )
    return _UNSPACED.findall("".join(kept))


def _printed_word(word: str) -> str:
    ascii_part = word.encode("ascii", "ignore").decode()
    letters = (sign for sign in word if unicodedata.category(sign)[0] in "LMN")
    return (ascii_part or "".join(letters)).lower()
