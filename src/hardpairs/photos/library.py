"""What the page searches: an index with its model, opened anew when it was brought up to date; and pictures that visitors give."""

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
from hardpairs.photos.index import Index, check_model
from hardpairs.photos.pictures import is_unchanged, jpeg, read_place
from hardpairs.photos.scan import Place
from hardpairs.photos.search import Hit, combine, hits, picture_vector, text_vectors, warm

THUMBNAIL, LARGE = 480, 1600
Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The ``size`` last used values by name. Safe in threads."""

    def __init__(self, size: int) -> None:
        self.size, self._values, self._lock = size, OrderedDict[str, Value](), threading.Lock()

    def get(self, name: str) -> Value | None:
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
            return self._values.get(name)

    def put(self, name: str, value: Value) -> None:
        with self._lock:
            self._values[name] = value
            self._values.move_to_end(name)
            while len(self._values) > self.size:
                self._values.popitem(last=False)


@dataclass(frozen=True)
class Question:
    """What a visitor asks: words, words to leave out, a picture given (its name in ``Asked``), or a photograph of the index (its id)."""

    text: str = ""
    minus: str = ""
    picture: str = ""
    like: str = ""

    @property
    def empty(self) -> bool:
        return not (self.text.strip() or self.minus.strip() or self.picture or self.like)


class Library:
    """An index and its model.

    Attributes:
        warning: what is wrong with the index on disk, where the one that was opened earlier is still used.
    """

    def __init__(self, folder: Path, encoders: Encoders, device: str = "cpu") -> None:
        self.folder, self.encoders, self.device, self.warning = folder, encoders, device, ""
        self._lock, self._stamp = threading.Lock(), self._state()
        self._index = Index.open(folder)
        warm(self._index)

    @property
    def name(self) -> str:
        return self._index.manifest["model"]

    def _state(self) -> tuple[int, int] | None:
        try:
            stat = os.stat(self.folder / NAME)
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino

    def index(self) -> Index:
        """The index as it is now; a search uses one of these from its beginning to its end."""
        state = self._state()
        if state != self._stamp:
            with self._lock:
                if state != self._stamp:
                    self._open_again(state)
        return self._index

    def _open_again(self, state: tuple[int, int] | None) -> None:
        try:
            index = Index.open(self.folder)
            check_model(index, self.encoders.description)
            warm(index)
            self._index, self.warning = index, ""
        except UserError as error:
            self.warning = f"The index has changed, and the new one cannot be used: {error.what}. This is the old one."
        self._stamp = state

    def find(
        self, question: Question, asked: Asked, count: int, *, cut: bool = False
    ) -> tuple[Index, list[Hit]]:
        """The index that was searched, and its hits; equal pictures once, and not the photograph that was asked about.

        Raises:
            UserError: exit 2 for a question that is empty or cancels itself, exit 3 for an empty index.
        """
        index = self.index()
        own = set()
        plus = list(text_vectors(self.encoders, [question.text]))
        if question.like in index.row_of:
            plus.append(np.asarray(index.embeddings[index.row_of[question.like]]))
            own.add(question.like)
        if question.picture and (vector := asked.vector(question.picture, self)) is not None:
            plus.append(vector)
        vector = combine(plus, list(text_vectors(self.encoders, [question.minus])))
        found = []
        for hit in hits(index, vector, 2 * count + 50, cut=cut):  # more, for the copies
            if len(found) == count:
                break
            if index.ids[hit.row] not in own:
                own.add(index.ids[hit.row])
                found.append(hit)
        return index, found


@dataclass
class Asked:
    """Pictures that visitors give: never on disk, the last few hundred in memory."""

    libraries: list[Library]
    _kept: Recent[tuple[bytes, dict[Path, np.ndarray]]] = field(default_factory=lambda: Recent(256))

    def add(self, data: bytes) -> str:
        """Its name.

        Raises:
            UnreadableImage: with the reason as its text.
        """
        image = decode(data)
        vectors = {
            library.folder: picture_vector(library.encoders, image, library.device)
            for library in self.libraries
        }
        name = secrets.token_hex(16)
        self._kept.put(name, (jpeg(image, THUMBNAIL), vectors))
        return name

    def vector(self, name: str, library: Library) -> np.ndarray | None:
        kept = self._kept.get(name)
        return None if kept is None else kept[1][library.folder]

    def thumbnail(self, name: str) -> bytes | None:
        kept = self._kept.get(name)
        return None if kept is None else kept[0]


class Thumbnails:
    """Small copies of indexed photographs, by id and in memory."""

    def __init__(self, libraries: list[Library]) -> None:
        self.libraries, self._made = libraries, Recent[bytes](2000)

    def get(self, name: str, side: int) -> bytes | None:
        """A JPEG without metadata; ``None`` when no index has this id now, or the photograph is gone or another."""
        for index in (library.index() for library in self.libraries):
            if name in index.row_of:
                made = self._of_place(name, index.photos.place(index.row_of[name]), side)
                if made is not None:
                    return made
        return None

    def _of_place(self, name: str, place: Place, side: int) -> bytes | None:
        made = self._made.get(f"{name} {side}")
        if made is not None and is_unchanged(place):
            return made
        try:
            data = read_place(place)
            if not hashlib.sha256(data).hexdigest().startswith(name):
                return None  # another picture, which nobody has indexed
            made = jpeg(decode(data, for_side=side), side)
        except (OSError, UnreadableImage):
            return None
        self._made.put(f"{name} {side}", made)
        return made
