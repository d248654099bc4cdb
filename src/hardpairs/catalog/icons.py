"""Icons of the Iconify collection: MDI, Tabler, game-icons and about a hundred further sets.

A caption is the icon's name in words. The same words in several sets are one group. An outline is
the same thing as the filled icon: a hard pair, in one part of the split. Of an icon
that a set draws in several sizes, weights or corners, one is taken.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hardpairs.catalog.candidates import Candidate, Collection
from hardpairs.catalog.packages import Archives, Package, members, read_json
from hardpairs.catalog.words import DOUBTFUL_STYLES, LOOKS, STYLES, name_words, same_words

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
STYLE_FIRST = frozenset(("ic",))
"""Sets that put the style before the name: ``round-living``."""
FIRST_STYLES = frozenset(("baseline", "round", "sharp", "twotone"))
_NUMBER = re.compile(r"(\d+)(?:px)?")
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
    for name, read in read_names(list(content["icons"]), style_first=prefix in STYLE_FIRST):
        icon, caption = content["icons"][name], read.caption
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
                same_words(words, numbers=True),
                same_words(words, frozenset(LOOKS.values())),
                facts["license"]["spdx"],
                svg_of(icon, content),
            )
            old = best.get(caption)
            collection.dropped["another size or weight"] += old is not None
            if old is None or read.rank < old[0]:
                best[caption] = read.rank, candidate
    return [candidate for _, candidate in best.values()]


@dataclass(frozen=True)
class Name:
    """The facts in an icon's name.

    Attributes:
        words: What is drawn.
        look: ``outline``, ``filled`` or nothing.
        styles: Words for weight and corners.
        size: The size in pixels, or 0.
    """

    words: tuple[str, ...]
    look: str
    styles: tuple[str, ...]
    size: int

    @property
    def caption(self) -> str:
        """The words and the look."""
        return " ".join((*self.words, self.look)).strip()

    @property
    def rank(self) -> tuple[int, int]:
        """Lower for plainer styles, then for larger sizes."""
        return len(self.styles), -self.size


def read_names(names: list[str], *, style_first: bool = False) -> Iterator[tuple[str, Name]]:
    """Yield each name of a set with what it says.

    Args:
        names: All names of the set: a doubtful word is a style where the set has the same icon in
            another style, too.
        style_first: Whether the style stands before the words.
    """
    both = STYLES | DOUBTFUL_STYLES
    read = {name: _read_name(name_words(name), both, style_first) for name in names}
    styles: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for said in read.values():
        styles[said.caption].add(tuple(sorted(DOUBTFUL_STYLES & set(said.styles))))
    for name, said in read.items():
        alone = len(styles[said.caption]) == 1
        yield name, _read_name(name_words(name), STYLES, style_first) if alone else said


def _read_name(words: list[str], styles: frozenset[str], style_first: bool) -> Name:
    """Take the look, the styles, the size and other numbers off the end of a name."""
    found: list[str] = []
    look, size = "", 0
    if style_first and len(words) > 1 and words[0] in {*LOOKS, *FIRST_STYLES}:
        look, words = LOOKS.get(words[0], ""), words[1:]
    while words:
        number = _NUMBER.fullmatch(words[-1])
        if number:
            size = max(size, int(number[1]))
        elif words[-1] in LOOKS and not look:
            look = LOOKS[words[-1]]
        elif words[-1] in styles:
            found.append(words[-1])
        else:
            break
        words = words[:-1]
    return Name(tuple(words), look, tuple(found), size)


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
