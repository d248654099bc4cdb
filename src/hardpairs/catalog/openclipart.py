"""The Open Clip Art Library of 2005, as Debian has packed it.

A caption is the drawing's title, its description and keywords, as noisy as what people write beside
their images on the web. Drawings whose title is the name of a collection are left out. The images
are Debian's: one renderer or another fails on half of the drawings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from hardpairs.catalog.candidates import Candidate, Collection
from hardpairs.catalog.packages import Archives, Package, members
from hardpairs.catalog.words import name_words, same_words

PACKAGES = (
    Package(
        "Debian",
        "openclipart-svg",
        "1:0.18+dfsg-19",
        "openclipart-svg_1%3a0.18+dfsg-19_all.deb",
        "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
    ),
    Package(
        "Debian",
        "openclipart-png",
        "1:0.18+dfsg-19",
        "openclipart-png_1%3a0.18+dfsg-19_all.deb",
        "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
    ),
)
FOLDER = "usr/share/openclipart/"
MAX_USES = 8
"""A title of more drawings than this is the name of their collection."""
MAX_DESCRIPTION, MAX_KEYWORDS = 20, 5
"""Words of the description and keywords in a caption."""
_COLLECTION = re.compile(r"^clipart by [^-]+ - ", re.IGNORECASE)
_NOT_SAID = re.compile(r"(hash )?0x[0-9a-f]+|hash|unsorted|clip ?art|icon|objects?|")
_DOUBTFUL = re.compile(r"://|www\.|@|hash\(|part of |converted ", re.IGNORECASE)
_LICENSES = {"PublicDomain": "Public-Domain", "publicdomain": "Public-Domain", "2.0": "GPL-2.0"}
_WORK, _ITEM = ".//{*}Work", ".//{*}li"


@dataclass(frozen=True)
class Entry:
    """The facts in a drawing's file."""

    title: str
    description: str
    keywords: tuple[str, ...]
    license: str


def read(archives: Archives) -> Collection:
    """Return the drawings that have a title of their own."""
    collection = Collection()
    entries: dict[str, Entry] = {}
    for name, content in members(archives["openclipart-svg"]):
        if name.startswith(FOLDER) and name.endswith(".svg"):
            stem = name.removeprefix(f"{FOLDER}svg/").removesuffix(".svg")
            entries[stem] = read_entry(content)
        elif name == "usr/share/doc/openclipart-svg/copyright":
            collection.notices["openclipart-copyright.txt"] = content.decode("utf-8", "replace")
    uses = Counter(entry.title.lower() for entry in entries.values())
    images = dict(_images(archives))
    for stem, entry in entries.items():
        reason = _unwanted(entry, uses, stem in images)
        if reason:
            collection.dropped[reason] += 1
            continue
        words = name_words(entry.title)
        collection.candidates.append(
            Candidate(
                stem,
                caption_of(entry),
                same_words(words),
                same_words(name_words(re.sub(r"\(.*?\)", "", entry.title)) or words),
                entry.license,
                images[stem],
            )
        )
    return collection


def _images(archives: Archives) -> Iterator[tuple[str, bytes]]:
    for name, content in members(archives["openclipart-png"]):
        if name.startswith(FOLDER) and name.endswith(".png"):
            yield name.removeprefix(f"{FOLDER}png/").removesuffix(".png"), content


def _unwanted(entry: Entry, uses: Counter[str], has_image: bool) -> str:
    words = name_words(entry.title)
    if not any(any(letter.isalpha() for letter in word) for word in words):
        return "without a title"
    if uses[entry.title.lower()] > MAX_USES:
        return f"with a title that more than {MAX_USES} drawings have"
    if not entry.license:
        return "without a license"
    return "" if has_image else "without an image in openclipart-png"


def read_entry(content: bytes) -> Entry:
    """Return what an SVG file says of itself in RDF; empty texts where it says nothing."""
    try:
        work = ElementTree.fromstring(content).find(_WORK)
    except ElementTree.ParseError:
        work = None
    if work is None:
        return Entry("", "", (), "")
    terms = work.find("{*}license")
    address = "" if terms is None else next(iter(terms.attrib.values()), "")
    subject = work.find("{*}subject")
    items = [] if subject is None else subject.findall(_ITEM)
    keywords = [" ".join(name_words(item.text or "")) for item in items]
    return Entry(
        _COLLECTION.sub("", _text(work, "title")).replace("_", " ").strip(),
        _text(work, "description"),
        tuple(dict.fromkeys(word for word in keywords if not _NOT_SAID.fullmatch(word))),
        _LICENSES.get(address.rstrip("/").rpartition("/")[2], ""),
    )


def _text(work: Any, tag: str) -> str:
    element = work.find(f"{{*}}{tag}")
    return " ".join(((element.text if element is not None else "") or "").split())


def caption_of(entry: Entry) -> str:
    """Return a drawing's title, description and keywords as one text.

    What the title says already is not said again.
    """
    said = set(name_words(entry.title))
    words = entry.description.split()
    caption = entry.title
    if (
        not _DOUBTFUL.search(entry.description)
        and len(set(name_words(entry.description)) - said) > 1
    ):
        caption += ". " + " ".join(words[:MAX_DESCRIPTION])
        said |= set(name_words(entry.description))
    new = [keyword for keyword in entry.keywords if not set(name_words(keyword)) <= said]
    return ", ".join([caption.rstrip(".,"), *new[:MAX_KEYWORDS]])
