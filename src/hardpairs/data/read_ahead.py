"""Members of tars behind URLs, requested before they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import NamedTuple

from hardpairs.core.ranges import request_range

MOST_BYTES = 256 << 20
"""Bytes that a process holds of members that nobody has asked for yet."""


class ByteRange(NamedTuple):
    """Bytes of a file behind a URL."""

    url: str
    offset: int
    size: int


class ReadAhead:
    """A bounded number of bytes that are held, or on their way from servers.

    Args:
        most_bytes: Bytes of all ranges that are held. Ranges beyond it are not requested, and are
            read when they are asked for.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._coming: dict[ByteRange, Future[bytes]] = {}

    @property
    def held_bytes(self) -> int:
        """Return the bytes of all ranges that are held, or on their way."""
        return sum(one.size for one in self._coming)

    def begin(self, ranges: Iterable[ByteRange]) -> None:
        """Request what is wanted next, in order, and forget everything else.

        So nothing is held of batches that were left.
        """
        wanted = dict.fromkeys(ranges)
        for one in self._coming.keys() - wanted.keys():
            self._coming.pop(one).cancel()
        held = self.held_bytes
        for one in wanted:
            if one not in self._coming and held + one.size <= self.most_bytes:
                self._coming[one] = request_range(*one)
                held += one.size

    def take(self, wanted: ByteRange) -> bytes | None:
        """Return the bytes of a range after waiting for them; ``None`` if they are not requested.

        They are held no longer.

        Raises:
            FileNotFoundError: As ``request_range`` says.
            ConnectionError: The same.
        """
        future = self._coming.pop(wanted, None)
        return None if future is None else future.result()
