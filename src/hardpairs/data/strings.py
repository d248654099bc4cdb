"""Many strings in two arrays.

Each string costs a few bytes more than its text, and forked workers share all of them without
copying.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


def readable(text: str) -> str:
    """Return a text that UTF-8 can hold: half of a surrogate pair becomes U+FFFD.

    JavaScript cuts emoji in two, and JSON carries the halves. Two halves that belong together are
    joined.
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def printable(name: str) -> str:
    r"""Return a name that UTF-8 can hold: bytes that are not UTF-8 are written as ``\udcXX``.

    Other than ``readable``, it gives different names to different files.
    """
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode("utf-8")


class PackedStrings:
    """An immutable sequence of texts as one byte array and its offsets.

    Args:
        data: uint8, the UTF-8 bytes of all texts, one after the other.
        offsets: (N + 1,) int64; text i is ``data[offsets[i]:offsets[i + 1]]``.
    """

    def __init__(self, data: np.ndarray, offsets: np.ndarray) -> None:
        self.data, self.offsets = data, offsets

    @classmethod
    def pack(cls, texts: Iterable[str]) -> PackedStrings:
        """Pack texts."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)

    @classmethod
    def concatenate(cls, parts: list[PackedStrings]) -> PackedStrings:
        """Join sequences into one."""
        starts = np.cumsum([0] + [len(part.data) for part in parts])
        offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
        return cls(
            np.concatenate([part.data for part in parts]), np.concatenate([*offsets, starts[-1:]])
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> str:
        if not -len(self) <= i < len(self):
            raise IndexError(f"row {i} of {len(self)}")
        i = int(i) % len(self)
        return (
            self.data[self.offsets[i] : self.offsets[i + 1]]
            .tobytes()
            .decode("utf-8", "surrogatepass")
        )

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))
