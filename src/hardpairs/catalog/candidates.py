"""What a data set's packages hold: drawings with captions, before any is drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Candidate:
    """A drawing with its caption.

    Attributes:
        name: What tells it from all others of the data set, such as ``mdi:account-arrow-left``.
        caption: Its caption.
        group: Candidates of one group are known positives of each other.
        thing: Candidates of one thing are in one part of the split. A group has one thing.
        license: Short name of its license.
        drawing: An SVG or PNG file.
    """

    name: str
    caption: str
    group: str
    thing: str
    license: str
    drawing: bytes


@dataclass
class Collection:
    """The candidates of a data set.

    Attributes:
        candidates: In any order.
        dropped: How many drawings of the packages are no candidates, by reason.
        notices: Texts of licenses and copyright by file name, to be kept beside the data.
    """

    candidates: list[Candidate] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    notices: dict[str, str] = field(default_factory=dict)
