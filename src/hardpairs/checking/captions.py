"""Scripts of captions, and those that are no text about an image."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

NO_LETTERS = "no letters"
_WORD_OF_NONE = re.compile(r"nan|null|none|n/?a|undefined|<na>", re.IGNORECASE)
_FILE_NAME = re.compile(r"\S+\.(jpe?g|png|webp|gif|bmp|tiff?|heic)", re.IGNORECASE)
_WEB_ADDRESS = re.compile(r"(https?://|www\.)\S+", re.IGNORECASE)
_MARKUP = re.compile(r"</?[a-z][^<>]*>|&(amp|lt|gt|quot|nbsp|#\d+);", re.IGNORECASE)
_MIXED_UP = re.compile("\ufffd|[ÂÃ][\u0080-\u00bf]|â€")
MAX_WORDS = 60
"""Words that fit about 77 tokens, where CLIP's tokenizer cuts."""


def script_of(caption: str) -> str:
    """Return the script of most letters of a caption, as Unicode calls it.

    Example:
        >>> script_of("a red fox"), script_of("красная лиса 2"), script_of("🦊 2")
        ('Latin', 'Cyrillic', 'no letters')
    """
    scripts = Counter(_script(letter) for letter in caption if letter.isalpha())
    return scripts.most_common(1)[0][0] if scripts else NO_LETTERS


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    name = unicodedata.name(letter, "UNKNOWN").split()[0]
    return "CJK" if name == "CJK" else name.capitalize()


def doubt_about(caption: str) -> str:
    """Return why a caption is probably no text about its image; empty where it seems to be one.

    Example:
        >>> doubt_about("DSC_0001.JPG"), doubt_about("a fox")
        ('a file name', '')
    """
    if _WORD_OF_NONE.fullmatch(caption):
        return "a word for no value"
    if _FILE_NAME.fullmatch(caption):
        return "a file name"
    if _WEB_ADDRESS.fullmatch(caption):
        return "a web address"
    if _MARKUP.search(caption):
        return "with markup"
    if _MIXED_UP.search(caption):
        return "in a wrong encoding"
    if not any(character.isalnum() for character in caption):
        return "without letters and digits"
    if len(caption.split()) > MAX_WORDS:
        return f"longer than {MAX_WORDS} words, about 77 tokens"
    return ""
