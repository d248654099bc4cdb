"""Names of members of tars: one rule for indexes, for tables that list members, and for readers.

A member's key is its path up to the first dot of its file name, as in webdataset, and its suffix is
the rest. ``./a.jpg``, ``/a.jpg`` and ``a.jpg`` are one name, as they are when a tar is unpacked;
``..`` stays as it is written, since nothing is unpacked here.
"""

from __future__ import annotations

import os
import re

from hardpairs.core.remote import is_url
from hardpairs.data.strings import printable

_TAR_IN_URL = re.compile(r".*\.tar(?=/)", re.IGNORECASE)
_ESCAPED = re.compile(r"\\udc([89a-f][0-9a-f])")
_NO_TAR = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".txt", ".csv")


def split_member(name: str) -> tuple[str, str]:
    """Return key and suffix of a member; both are empty where it belongs to no sample.

    Names without a suffix, and file names that start with a dot (macOS has ``._a.jpg``), belong to
    none. Bytes that are not UTF-8 are escaped.

    Example:
        >>> split_member("./v1.0/000.JPG")
        ('v1.0/000', 'jpg')
        >>> split_member("a/000.seg.png")
        ('a/000', 'seg.png')
        >>> split_member("a/.DS_Store")
        ('', '')
    """
    stem, dot, suffix = name.rpartition("/")[2].partition(".")
    return (member_key(name), suffix.lower()) if stem and dot else ("", "")


def member_key(name: str) -> str:
    """Return the key of a member's name, with or without a suffix."""
    folder, _, base = printable(name).rpartition("/")
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    return "/".join([*parts, base.partition(".")[0]])


class TarPaths:
    """Splits paths such as ``shards/00000.tar/cat/000.jpg`` into a tar and a member.

    A local tar is any file on the way of a path; the answers are kept for each folder.
    """

    def __init__(self) -> None:
        self._tar_of_folder: dict[str, str] = {}

    def split(self, path: str) -> tuple[str, str]:
        """Return the tar and the name of the member; an empty tar and the path of another file.

        The bytes that ``printable`` has escaped are restored.
        """
        if is_url(path):
            found = _TAR_IN_URL.match(path)
            tar = found[0] if found else ""
        else:
            tar = self._tar_at(os.path.dirname(path))
            if not tar and _ESCAPED.search(path) and not os.path.exists(path):
                return self.split(_ESCAPED.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), path))
        return tar, path[len(tar) :].lstrip("/") if tar else path

    def _tar_at(self, folder: str) -> str:
        if folder not in self._tar_of_folder:
            above = os.path.dirname(folder)
            if os.path.isfile(folder) and not folder.lower().endswith(_NO_TAR):
                tar = folder
            elif above == folder or os.path.isdir(folder):
                tar = ""
            else:
                tar = self._tar_at(above)
            self._tar_of_folder[folder] = tar
        return self._tar_of_folder[folder]
