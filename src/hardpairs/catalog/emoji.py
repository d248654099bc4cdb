"""Emoji as four vendors draw them, with Unicode's names and the tags of emojibase.

All drawings of an emoji are one group. Skin tones are left out; a man, a woman and a person who do
the same are one thing.
"""

from __future__ import annotations

from hardpairs.catalog.candidates import Candidate, Collection
from hardpairs.catalog.icons import svg_of
from hardpairs.catalog.packages import Archives, Package, members, read_json
from hardpairs.catalog.words import name_words, same_words

VENDORS = {
    "noto": ("1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    "twemoji": ("1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
    "openmoji": ("1.2.29", "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5"),
    "fluent-emoji-flat": (
        "1.2.6",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    ),
}
"""Version and hash of the packages ``@iconify-json/VENDOR``."""
NAMES = Package(
    "npm",
    "emojibase-data",
    "17.0.0",
    "emojibase-data-17.0.0.tgz",
    "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
)
PACKAGES = (
    NAMES,
    *(
        Package(
            "npm",
            f"@iconify-json/{vendor}",
            version,
            f"iconify-json-{vendor}-{version}.tgz",
            sha256,
        )
        for vendor, (version, sha256) in VENDORS.items()
    ),
)
MAX_TAGS = 4
PEOPLE = frozenset(["boy", "girl", "man", "men", "people", "person", "woman", "women"])
COMPONENT = 2
"""Group number of emojibase for skin tones and hair, which are parts of emoji."""


def read(archives: Archives) -> Collection:
    """Return each vendor's drawing of each emoji that has a name."""
    collection = Collection()
    names = _files(archives, NAMES.name, "en/data.json", "LICENSE")
    collection.notices["emojibase-data.txt"] = names["LICENSE"].decode("utf-8")
    entries = {
        _code(entry["hexcode"]): entry
        for entry in read_json(names["en/data.json"])
        if entry.get("group", COMPONENT) != COMPONENT  # letters of flags have none
    }
    for vendor in VENDORS:
        files = _files(archives, f"@iconify-json/{vendor}", "icons.json", "chars.json", "info.json")
        content, info = read_json(files["icons.json"]), read_json(files["info.json"])
        terms = info["license"]
        collection.notices[f"{vendor}.txt"] = (
            f"{info['name']} by {info['author']['name']}, {info['author'].get('url', '')}\n"
            f"{terms['title']}, {terms['url']}\n"
        )
        for code, name in read_json(files["chars.json"]).items():
            entry, icon = entries.get(_code(code)), content["icons"].get(name)
            if entry is None or icon is None:
                collection.dropped["a skin tone, or without a name"] += 1
                continue
            words = name_words(entry["label"])
            collection.candidates.append(
                Candidate(
                    f"{vendor}:{_code(code)}",
                    caption_of(entry["label"], entry.get("tags", [])),
                    _code(code),
                    same_words(words, PEOPLE),
                    terms["spdx"],
                    svg_of(icon, content),
                )
            )
    return collection


def _files(archives: Archives, package: str, *names: str) -> dict[str, bytes]:
    wanted = {f"package/{name}": name for name in names}
    return {wanted[name]: content for name, content in members(archives[package]) if name in wanted}


def _code(code: str) -> str:
    """Return code points in lower case; vendors disagree on the variation selector FE0F."""
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def caption_of(label: str, tags: list[str]) -> str:
    """Return an emoji's name and the first tags that add a word to it."""
    said = set(name_words(label))
    kept: list[str] = []
    for tag in tags:
        if len(kept) < MAX_TAGS and not set(name_words(tag)) <= said and tag.isascii():
            kept.append(tag)
            said |= set(name_words(tag))
    return ", ".join([label, *kept])
