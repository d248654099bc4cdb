"""The page's address: it names the query, so that reload, Back and bookmarks find it again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from hardpairs.photos.library import Query
from hardpairs.photos.search import clean

SHOWN = (12, 24, 48, 96)
"""Numbers of photos that the page offers to show."""
DEFAULT_SHOWN = SHOWN[1]
_IMAGE, _PHOTO = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{16}")


@dataclass(frozen=True)
class Visit:
    """A query and how its results are shown.

    Attributes:
        query: The query. With a photo whose neighbors are shown it also holds the texts that stand
            in the boxes.
        shown: Photos shown.
        cut: Whether only photos that stand out are shown.
    """

    query: Query
    shown: int = DEFAULT_SHOWN
    cut: bool = False

    def address(self) -> str:
        """Return the part of the address behind the path; empty for the page as it opens.

        Example:
            >>> Visit(Query("a dog"), cut=True).address()
            '?q=a+dog&cut=1'
        """
        query = self.query
        fields = {"q": query.text, "minus": query.minus, "image": query.image, "like": query.like}
        fields["shown"] = "" if self.shown == DEFAULT_SHOWN else str(self.shown)
        fields["cut"] = "1" if self.cut else ""
        given = {name: value for name, value in fields.items() if value}
        return f"?{urlencode(given)}" if given else ""

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Visit:
        """Return what the fields of an address ask for; what the page would not write is left out.

        Args:
            fields: Values by name, as a person may have typed them.
        """
        image, photo = fields.get("image", ""), fields.get("like", "")
        shown = fields.get("shown", "")
        query = Query(
            text=clean(fields.get("q", "")),
            minus=clean(fields.get("minus", "")),
            image=image if _IMAGE.fullmatch(image) else "",
            like=photo if _PHOTO.fullmatch(photo) else "",
        )
        known = {str(count): count for count in SHOWN}
        return cls(query, known.get(shown, DEFAULT_SHOWN), fields.get("cut") == "1")
