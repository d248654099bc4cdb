"""The stamps of Tux Paint, a drawing program for children, as Debian has packed them.

Each stamp has a sentence. Half of them are photographs that are cut out.
"""

from __future__ import annotations

from hardpairs.catalog.candidates import Candidate, Collection
from hardpairs.catalog.packages import Archives, Package, members
from hardpairs.catalog.words import name_words, same_words

PACKAGES = (
    Package(
        "Debian",
        "tuxpaint-stamps-default",
        "2022.06.04-1",
        "tuxpaint-stamps-default_2022.06.04-1_all.deb",
        "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    ),
)
FOLDER = "usr/share/tuxpaint/stamps/"
LICENSE = "GPL-2.0-or-later"
MIN_WORDS = 2
_ARTICLES = frozenset(("a", "an", "the"))


def read(archives: Archives) -> Collection:
    """Return the stamps whose sentence has at least two words."""
    collection = Collection()
    drawings: dict[str, bytes] = {}
    sentences: dict[str, str] = {}
    for name, content in members(archives["tuxpaint-stamps-default"]):
        stem, _, extension = name.removeprefix(FOLDER).rpartition(".")
        if name == "usr/share/doc/tuxpaint-stamps-default/copyright":
            collection.notices["tuxpaint-copyright.txt"] = content.decode("utf-8", "replace")
        elif not name.startswith(FOLDER):
            continue
        elif extension == "txt":
            sentences[stem] = content.decode("utf-8", "replace").splitlines()[0].strip()
        elif extension == "png" or (extension == "svg" and stem not in drawings):
            drawings[stem] = content
    for stem, drawing in drawings.items():
        sentence = sentences.get(stem, "")
        words = [word for word in name_words(sentence) if word not in _ARTICLES]
        if len(words) < MIN_WORDS and not _is_sentence(sentence):
            collection.dropped["a letter or sign, or without a sentence"] += 1
            continue
        group, thing = same_words(words, numbers=True), same_words(words)
        collection.candidates.append(Candidate(stem, sentence, group, thing, LICENSE, drawing))
    return collection


def _is_sentence(text: str) -> bool:
    """Return whether a text of few words names a thing, such as ``A giraffe``."""
    words = name_words(text)
    return bool(words) and words[-1].isalpha() and len(words[-1]) > 2
