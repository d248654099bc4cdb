"""Icons of the Iconify collection: MDI, Tabler, game-icons and about a hundred further sets.

A caption is the icon's name in words. The same words in several sets are one group. An outline is
the same thing as the filled icon: a hard pair, in one part of the split. Of an icon
that a set draws in several sizes, weights or corners, one is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hardpairs.catalog.candidates import Candidate, Collection
from hardpairs.catalog.packages import Archives, Package, members, read_json
from hardpairs.catalog.words import LOOKS, VARIANTS, name_words, same_words

PACKAGES = (
    Package(
        "npm",
        "@iconify/json",
        "2.2.535",
        "iconify-json-2.2.535.tgz",
        "1a545f86fa224d6531d8fb101dcbe83aac2b28689a21cbed6fc68318a5af4d91",
    ),
)
CATEGORIES = ("UI ", "Material", "Thematic")
"""Beginnings of the categories whose names say what is drawn. The names of logos, flags and file
types are no descriptions, and emoji are a data set of their own."""
LICENSES = frozenset(
    (
        *("0BSD", "Apache-2.0", "BSD-3-Clause", "CC-BY-3.0", "CC-BY-4.0", "CC0-1.0", "ISC", "MIT"),
        *("OFL-1.1", "Unlicense"),
    )
)
"""Licenses that allow changed copies under any terms, also in trade."""
MIN_WORDS, MAX_WORDS = 2, 8
BRANDS = frozenset(("brand", "brands", "logo"))
_PIXELS = re.compile(r"\d+px")
_NEEDS_A_BROWSER = re.compile(r"<(animate|set |text|image|style|script|foreignObject)|href=")
"""Parts of a drawing that move, need fonts, or point elsewhere."""


def read(archives: Archives) -> Collection:
    """Return the icons whose name has at least two words."""
    files = {
        name.removeprefix("package/"): content
        for name, content in members(archives["@iconify/json"])
        if re.fullmatch(r"package/(collections\.json|json/[\w-]+\.json)", name)
    }
    sets = read_json(files["collections.json"])
    collection = Collection()
    used = {}
    for prefix, facts in sets.items():
        reason = _unwanted(facts)
        if reason:
            collection.dropped[reason] += int(facts["total"])
            continue
        icons = _read_set(prefix, facts, read_json(files[f"json/{prefix}.json"]), collection)
        collection.candidates += icons
        if icons:
            used[prefix] = facts
    collection.notices["icon-sets.md"] = _notice(used)
    return collection


def _unwanted(facts: dict[str, Any]) -> str:
    if facts.get("hidden") or not str(facts.get("category", "")).startswith(CATEGORIES):
        return "in a set of logos, flags, emoji, file types, or one that is out of use"
    if facts["license"].get("spdx") not in LICENSES:
        return "in a set whose license restricts changed copies"
    return ""


def _read_set(
    prefix: str, facts: dict[str, Any], content: dict[str, Any], collection: Collection
) -> list[Candidate]:
    """Return the icons of a set, one for each caption."""
    best: dict[str, tuple[tuple[int, int], Candidate]] = {}
    for name, icon in content["icons"].items():
        caption, rank = caption_of(name)
        if icon.get("hidden") or not MIN_WORDS <= _described(caption) <= MAX_WORDS:
            collection.dropped[f"not {MIN_WORDS} to {MAX_WORDS} words"] += 1
        elif BRANDS & set(caption.split()):
            collection.dropped["a brand"] += 1
        elif _NEEDS_A_BROWSER.search(icon["body"]):
            collection.dropped["moves, or needs fonts"] += 1
        else:
            words = caption.split()
            candidate = Candidate(
                f"{prefix}:{name}",
                caption,
                same_words(words),
                same_words(words, frozenset(LOOKS.values())),
                facts["license"]["spdx"],
                svg_of(icon, content),
            )
            old = best.get(caption)
            collection.dropped["another size or weight"] += old is not None
            if old is None or rank < old[0]:
                best[caption] = rank, candidate
    return [candidate for _, candidate in best.values()]


def caption_of(name: str) -> tuple[str, tuple[int, int]]:
    """Return the caption of an icon's name, and the rank of the icon among those of its caption.

    Args:
        name: Such as ``access-time-20-fill`` or ``outline-access-time``.

    Returns:
        ``access time filled`` or ``access time outline``; a pair that is lower for plainer weights
        and larger sizes.
    """
    words = name_words(name)
    size = max((int(word) for word in words if word.isdigit()), default=0)
    kept = [word for word in words if word not in VARIANTS and not _PIXELS.fullmatch(word)]
    look = ""
    if kept and kept[-1] in LOOKS:
        look = LOOKS[kept.pop()]
    elif kept and kept[0] in LOOKS.values():
        look = kept.pop(0)
    while kept and kept[-1].isdigit():
        kept.pop()
    caption = [*kept, look] if look else kept
    return " ".join(caption), (len(words) - len(caption), -size)


def _described(caption: str) -> int:
    """Return the number of words that say what is drawn."""
    looks = frozenset(LOOKS.values())
    return sum(not word.isdigit() and word not in looks for word in caption.split())


def svg_of(icon: dict[str, Any], content: dict[str, Any]) -> bytes:
    """Return an icon as a square file in black."""

    def number(name: str, default: float) -> float:
        return float(icon.get(name, content.get(name, default)))

    width, height = number("width", 16), number("height", 16)
    side = max(width, height)
    left = number("left", 0) - (side - width) / 2
    top = number("top", 0) - (side - height) / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" color="#000" width="{side:g}" height="{side:g}" '
        f'viewBox="{left:g} {top:g} {side:g} {side:g}">{icon["body"]}</svg>'
    ).encode()


def _notice(sets: dict[str, Any]) -> str:
    return "# Icon sets\n\n" + "\n".join(_lines(sets)) + "\n"


def _lines(sets: dict[str, Any]) -> Iterator[str]:
    yield "| set | name | author | license |"
    yield "|---|---|---|---|"
    for prefix, facts in sorted(sets.items()):
        author, license_of = facts["author"], facts["license"]
        who = f"[{author['name']}]({author['url']})" if author.get("url") else author["name"]
        terms = license_of["spdx"]
        terms = f"[{terms}]({license_of['url']})" if license_of.get("url") else terms
        yield f"| {prefix} | {facts['name']} | {who} | {terms} |"
