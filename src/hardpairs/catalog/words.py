"""Words of names and titles: how a caption, a group and a thing are made from them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

STYLES = frozenset(("duo", "duotone", "linear", "regular", "rounded", "sharp", "thin", "twotone"))
"""Last words of an icon's name for its weight or corners: they tell no caption from another."""
DOUBTFUL_STYLES = frozenset(
    ("alt", "bold", "broken", "flat", "light", "medium", "poly", "remix", "round", "variant")
)
"""Last words that are such a style in a set that draws the same icon in another one, too: a traffic
light is none."""
LOOKS = {
    **dict.fromkeys(("line", "outline", "outlined", "stroke"), "outline"),
    **dict.fromkeys(("fill", "filled", "solid"), "filled"),
}
"""Last words of an icon's name for how it is drawn, and the one word for them in captions."""


def name_words(name: str) -> list[str]:
    """Return the words of a name in lower case: ``Dog-house_2`` is dog, house, 2."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", name.lower())


def same_words(
    words: Iterable[str], leave_out: Collection[str] = (), *, numbers: bool = False
) -> str:
    """Return a text that is equal for equal words in any order.

    Args:
        words: The words.
        leave_out: Words that do not count.
        numbers: Whether numbers count.

    Returns:
        The words in alphabetical order; all of them, if nothing else is left.

    Example:
        >>> same_words(["arrow", "left", "2"]) == same_words(["left", "arrow"])
        True
    """
    words = sorted(words)
    kept = [word for word in words if word not in leave_out and (numbers or not word.isdigit())]
    return " ".join(kept or words)
