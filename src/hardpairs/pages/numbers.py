"""Write numbers as text, for the terminal and for pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

MINUS = "−"


def value_text(value: float, unit: str) -> str:
    """Return a metric's value as text.

    Args:
        value: The value.
        unit: ``share`` (a fraction, written in percent), ``score`` (0 to 1) or ``rank``.

    Example:
        >>> value_text(0.4567, "share"), value_text(0.4567, "score"), value_text(12.0, "rank")
        ('45.7', '.457', '12')
    """
    if unit == "share":
        return f"{100 * value:.1f}"
    if unit == "score":
        return _drop_zero(f"{value:.3f}")
    return f"{value:,.1f}".removesuffix(".0")


def difference_text(value: float, unit: str) -> str:
    """Return a difference with its sign.

    Args:
        value: The difference.
        unit: As in ``value_text``; differences of shares are written in points.

    Example:
        >>> difference_text(-0.021, "share"), difference_text(0.0, "rank")
        ('−2.1', '0')
    """
    text = value_text(abs(value), unit)
    if float(text.replace(",", "")) == 0:
        return text
    return ("+" if value > 0 else MINUS) + text


def p_text(p: float) -> str:
    """Return a p-value as one reads it aloud: ``.012``, ``< .001``."""
    return "< .001" if p < 0.001 else _drop_zero(f"{p:.3f}" if p < 0.1 else f"{p:.2f}")


def p_phrase(p: float) -> str:
    """Return ``p = .012`` or ``p < .001``."""
    text = p_text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _drop_zero(text: str) -> str:
    return text[1:] if text.startswith("0.") else text


def count_text(value: float) -> str:
    """Return a count with separators."""
    return f"{value:,.0f}"


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: ``1 run``, ``2 runs``.

    Args:
        count: The count.
        one: The noun for one.
        many: The noun for several; with an s by default.
    """
    return f"{count_text(count)} {one if count == 1 else many or one + 's'}"


def reasons_text(rejected: Mapping[int, str]) -> str:
    """Return the number of rows for each reason: ``empty_caption 2, missing_file 1``."""
    return ", ".join(
        f"{reason} {count}" for reason, count in sorted(Counter(rejected.values()).items())
    )


def enumerate_words(words: list[str]) -> str:
    """Join words: ``a``; ``a and b``; ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def seconds_text(seconds: float) -> str:
    """Return a duration: ``48 s``, ``6 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def capitalized(text: str) -> str:
    """Return a text with a capital first letter; the rest stays."""
    return text[:1].upper() + text[1:]
