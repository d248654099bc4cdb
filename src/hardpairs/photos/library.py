"""Libraries that the page searches: an index with its model, and images that visitors give.

An index that was brought up to date while the page is open is opened again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from hardpairs.core.errors import UserError
from hardpairs.data.images import UnreadableImage, decode
from hardpairs.data.manifest import NAME
from hardpairs.models.encoders import Encoders
from hardpairs.photos.examples import offered
from hardpairs.photos.index import Index, check_model
from hardpairs.photos.model import open_model
from hardpairs.photos.photo_files import is_unchanged, jpeg, read_photo
from hardpairs.photos.scan import PhotoFile
from hardpairs.photos.search import (
    SearchResult,
    combine,
    image_vector,
    ranked,
    text_vectors,
    warm,
)

THUMBNAIL, LARGE = 480, 1600
"""Pixels of the longer side."""
Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The ``size`` last used values by name. Safe in threads."""

    def __init__(self, size: int) -> None:
        self.size, self._values, self._lock = size, OrderedDict[str, Value](), threading.Lock()

    def get(self, name: str) -> Value | None:
        """Return the value of a name, or ``None``."""
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
            return self._values.get(name)

    def put(self, name: str, value: Value) -> None:
        """Keep a value, and drop the one that was not used for the longest time."""
        with self._lock:
            self._values[name] = value
            self._values.move_to_end(name)
            while len(self._values) > self.size:
                self._values.popitem(last=False)


@dataclass(frozen=True)
class Query:
    """A visitor's query.

    Attributes:
        text: What the photo shows.
        minus: What it does not show.
        image: Name of a given image, as in ``QueryImages``.
        like: Id of a photo of the index whose neighbors are wanted.
    """

    text: str = ""
    minus: str = ""
    image: str = ""
    like: str = ""

    @property
    def empty(self) -> bool:
        """Return whether the query is empty."""
        return not (self.text.strip() or self.minus.strip() or self.image or self.like)


class Library:
    """An index and its model.

    Attributes:
        warning: What is wrong with the index on disk, while an earlier one is still in use.
    """

    def __init__(self, folder: Path, encoders: Encoders, device: str = "cpu") -> None:
        self.folder, self.encoders, self.device, self.warning = folder, encoders, device, ""
        self._lock, self._stamp = threading.Lock(), self._state()
        self._index = Index.open(folder)
        self._examples: tuple[Index, list[str]] | None = None
        warm(self._index)

    @classmethod
    def open(
        cls,
        folder: Path,
        model: str | None = None,
        pretrained: str | None = None,
        device: str = "cpu",
    ) -> Library:
        """Open an index and its model.

        Args:
            folder: Folder of the index.
            model: As in ``hardpairs.photos.model.open_model``.
            pretrained: As in ``hardpairs.photos.model.open_model``.
            device: Where the model is placed.

        Raises:
            UserError: As ``Index.open`` and ``open_model``.
        """
        return cls(folder, open_model(Index.open(folder), model, pretrained, device), device)

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self._index.manifest["model"])

    def _state(self) -> tuple[int, int] | None:
        try:
            stat = os.stat(self.folder / NAME)
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino

    def index(self) -> Index:
        """Return the current index; a search must use one of them from its beginning to its end."""
        state = self._state()
        if state != self._stamp:
            with self._lock:
                if state != self._stamp:
                    self._open_again(state)
        return self._index

    def examples(self) -> list[str]:
        """Return the queries to offer for the current index."""
        index = self.index()
        if self._examples is None or self._examples[0] is not index:
            self._examples = (index, offered(index, self.encoders))
        return self._examples[1]

    def _open_again(self, state: tuple[int, int] | None) -> None:
        try:
            index = Index.open(self.folder)
            check_model(index, self.encoders.description)
            warm(index)
            self._index, self.warning = index, ""
        except UserError as error:
            self.warning = (
                f"The index has changed, and the new one cannot be used: {error.what}. "
                "The page still shows the old one."
            )
        self._stamp = state

    def search(
        self, query: Query, query_images: QueryImages, count: int, *, cut: bool = False
    ) -> tuple[Index, list[SearchResult]]:
        """Search the current index.

        Equal images are returned once. The photo whose neighbors are wanted is left out.

        Args:
            query: What is asked for.
            query_images: Where the query's image is kept.
            count: Results at most.
            cut: As in ``hardpairs.photos.search.search``.

        Returns:
            The index that was searched, and the results, best first.

        Raises:
            UserError: exit 2 for a query that is empty or cancels itself, exit 3 for an empty
                index.
        """
        index = self.index()
        seen = set()
        plus = list(text_vectors(self.encoders, [query.text]))
        if query.like in index.row_of:
            plus.append(np.asarray(index.embeddings[index.row_of[query.like]]))
            seen.add(query.like)
        if query.image and (given := query_images.vector(query.image, self)) is not None:
            plus.append(given)
        vector = combine(plus, list(text_vectors(self.encoders, [query.minus])))
        results: list[SearchResult] = []
        for result in ranked(index, vector, 2 * count + 50, cut=cut):  # copies are skipped
            if len(results) == count:
                break
            if index.ids[result.row] not in seen:
                seen.add(index.ids[result.row])
                results.append(result)
        return index, results


@dataclass
class QueryImages:
    """Images that visitors give: the last few hundred, in memory and never on disk.

    Attributes:
        libraries: Those that the images are used in.
    """

    libraries: list[Library]
    _kept: Recent[tuple[bytes, dict[Path, np.ndarray]]] = field(default_factory=lambda: Recent(256))

    def add(self, data: bytes) -> str:
        """Keep an encoded image; return the name that it is kept under.

        Raises:
            UnreadableImage: The image cannot be decoded.
        """
        image = decode(data)
        vectors = {
            library.folder: image_vector(library.encoders, image, library.device)
            for library in self.libraries
        }
        name = secrets.token_hex(16)
        self._kept.put(name, (jpeg(image, THUMBNAIL), vectors))
        return name

    def vector(self, name: str, library: Library) -> np.ndarray | None:
        """Return the vector of an image by a library's model, (D,), or ``None``."""
        kept = self._kept.get(name)
        return None if kept is None else kept[1][library.folder]

    def thumbnail(self, name: str) -> bytes | None:
        """Return a small JPEG of an image, or ``None``."""
        kept = self._kept.get(name)
        return None if kept is None else kept[0]


class Thumbnails:
    """Small copies of indexed photos, by id and in memory."""

    def __init__(self, libraries: list[Library]) -> None:
        self.libraries, self._made = libraries, Recent[bytes](2000)

    def get(self, name: str, side: int) -> bytes | None:
        """Return a JPEG without metadata.

        Args:
            name: Id of the photo.
            side: Pixels of the longer side, at most.

        Returns:
            The JPEG; ``None`` when no index has this id now, or the file has changed.
        """
        for index in (library.index() for library in self.libraries):
            if name in index.row_of:
                made = self._thumbnail(name, index.photos.file(index.row_of[name]), side)
                if made is not None:
                    return made
        return None

    def _thumbnail(self, name: str, file: PhotoFile, side: int) -> bytes | None:
        made = self._made.get(f"{name} {side}")
        if made is not None and is_unchanged(file):
            return made
        try:
            data = read_photo(file)
            if not hashlib.sha256(data).hexdigest().startswith(name):
                return None  # another image, which nobody has indexed
            made = jpeg(decode(data, for_side=side), side)
        except (OSError, UnreadableImage):
            return None
        self._made.put(f"{name} {side}", made)
        return made
