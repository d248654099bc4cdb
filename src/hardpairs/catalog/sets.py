"""The data sets by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from hardpairs.catalog.candidates import Collection
from hardpairs.catalog.packages import Archives, Package
from hardpairs.core.errors import usage


@dataclass(frozen=True)
class DataSet:
    """A data set that packages hold.

    Attributes:
        name: Its name.
        title: Its name in words.
        packages: What it is made from.
        read: Returns its candidates.
    """

    name: str
    title: str
    packages: tuple[Package, ...]
    read: Callable[[Archives], Collection]


TITLES = {
    "icons": "Icons of the Iconify collection, with their names",
    "openclipart": "Open Clip Art Library of 2005, with titles and keywords",
    "tuxpaint": "Tux Paint's stamps, with one sentence each",
    "emoji": "Emoji of four vendors, with names and tags",
}
"""Data sets by name. The module of each has its name, ``PACKAGES`` and ``read``."""


ELSEWHERE = {
    "cc3m": "bash scripts/download_cc3m.sh TABLE.tsv OUT (docs/cc3m.md)",
    "cc12m": "bash scripts/download_cc12m.sh TABLE.tsv OUT (docs/cc3m.md)",
    "yfcc15m": "bash scripts/download_yfcc15m.sh TABLE.tsv OUT (docs/cc3m.md)",
    "coco": "download images and captions from its authors, and list them in a table with the "
    "columns filepath and title",
    "flickr30k": "download it from its authors; every command reads its folder",
}
"""What to do for data that is fetched otherwise."""


def find_set(name: str) -> DataSet:
    """Return the data set of a name.

    Raises:
        UserError: Exit 2 for an unknown name, and for data that no package holds.
    """
    if name in ELSEWHERE:
        raise usage(
            f"no package holds {name}: its images are fetched from where they are on the web",
            fix=ELSEWHERE[name],
        )
    if name not in TITLES:
        raise usage(f"there is no data set {name!r}", fix=f"one of: {', '.join(TITLES)}")
    module = importlib.import_module(f"hardpairs.catalog.{name}")
    return DataSet(name, TITLES[name], module.PACKAGES, module.read)
