"""A question as a unit vector, and the photographs nearest to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image

from hardpairs.core.errors import bad_input, usage
from hardpairs.models.encoders import Encoders
from hardpairs.models.tokenizer import WordTokenizer
from hardpairs.photos.encoding import encode_pixels, encode_texts
from hardpairs.photos.index import Index

MAX_QUERY = 1000
"""Characters of a text that are read; models read some 77 words or fewer."""
CUT = 0.5
"""A result stays when it is at least so far from the background towards the best one."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def clean(text: str) -> str:
    """A query without control characters, cut to what is read.

    Example:
        >>> clean(" a dog\\x00\\n in snow ")
        'a dog in snow'
    """
    return " ".join(_CONTROL.sub(" ", text[: 4 * MAX_QUERY]).split())[:MAX_QUERY]


@dataclass(frozen=True)
class Hit:
    """``similarity`` is the cosine of the photograph's and the question's vectors."""

    row: int
    similarity: float


def text_vectors(encoders: Encoders, texts: list[str]) -> np.ndarray:
    """(T, D) float32 unit rows of the texts that are not empty once cleaned."""
    texts = [text for text in map(clean, texts) if text]
    return encode_texts(encoders, texts) if texts else np.zeros((0, 1), np.float32)


def unknown_words(encoders: Encoders, texts: list[str]) -> str:
    """What to say of words that a model with a small vocabulary has never read; empty where it knows all, or reads letters."""
    tokenizer = encoders.text.prepare
    if not isinstance(tokenizer, WordTokenizer):
        return ""
    words = dict.fromkeys(word for text in texts for word in tokenizer.unknown_words(clean(text)))
    return f"This model has never read: {', '.join(list(words)[:10])}." if words else ""


def picture_vector(encoders: Encoders, image: Image.Image, device: str = "cpu") -> np.ndarray:
    """(D,) float32, unit length, of an RGB picture."""
    return encode_pixels(encoders, encoders.image.transform(image)[None], device)[0]


def combine(plus: list[np.ndarray], minus: list[np.ndarray]) -> np.ndarray:
    """The unit vector of the sum of ``plus`` less the sum of ``minus``; all are unit vectors of one length, (D,).

    Raises:
        UserError: exit 2 when there is nothing to look for, or nothing is left of it.
    """
    if not plus and not minus:
        raise usage("nothing to search for", fix="say what the picture shows, or give one like it")
    total = np.sum(plus, axis=0, dtype=np.float64) - np.sum(minus, axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    if length < 1e-3:
        raise usage("what is left out is all that was asked for", fix="leave out something else")
    return (total / length).astype(np.float32)


def similarities(index: Index, query: np.ndarray) -> np.ndarray:
    """(N,) float32 cosines. The product of a row does not depend on the others, but for the last bits."""
    if not len(index):
        raise bad_input(
            "the index holds no picture",
            where=str(index.folder),
            fix="index a folder with photographs",
        )
    return np.asarray(index.embeddings @ query)


def best_rows(scores: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` highest, best first; of equal ones the first row comes first."""
    count = min(count, len(scores))
    if count < len(scores):
        lowest = np.partition(scores, len(scores) - count)[len(scores) - count]
        above, equal = np.flatnonzero(scores > lowest), np.flatnonzero(scores == lowest)
        rows = np.concatenate([above, equal[: count - len(above)]])
    else:
        rows = np.arange(len(scores))
    return rows[np.lexsort((rows, -scores[rows]))]


def cut_off(scores: np.ndarray) -> float:
    """The least similarity of a result that stands out, for this query in this collection.

    The background is the median over the collection. A result stands out when it is at least half way from there to the best one, and
    farther above the background than any picture is below it: what has nothing to do with the query lies on both sides alike.
    (Multiples of a standard deviation do not say that: cosines of a small model spread over all of [-1, 1], those of a large one over a
    tenth of it.)
    """
    background, best = float(np.median(scores)), float(scores.max())
    return max(background + CUT * (best - background), 2 * background - float(scores.min()))


def search(index: Index, query: np.ndarray, count: int, *, cut: bool = False) -> list[Hit]:
    """The nearest photographs, best first.

    Args:
        query: (D,) float32, unit length.
        cut: only those that stand out (``cut_off``); may be none.
    """
    return list(islice(hits(index, query, count, cut=cut), count))


def hits(index: Index, query: np.ndarray, first: int, *, cut: bool = False) -> Iterator[Hit]:
    """All of ``search``'s, for who looks until enough are of use; ``first`` are sorted at first, and more when these are at their end."""
    scores = similarities(index, query)
    least = cut_off(scores) if cut else -np.inf
    begin, end = 0, first
    while begin < len(scores):
        for row in best_rows(scores, end)[begin:]:
            if scores[row] < least:
                return
            yield Hit(int(row), float(scores[row]))
        begin, end = end, 4 * end


def warm(index: Index) -> None:
    """Reads the embeddings once, so that the first query finds them in memory."""
    if len(index):
        index.embeddings @ np.zeros(index.embeddings.shape[1], np.float32)
