"""A query as a unit vector, and the photos nearest to it."""

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
"""Characters of a text that are read; models read about 77 words or fewer."""
CUT = 0.5
"""A result stands out from this fraction of the way from the background to the best result on."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def clean(text: str) -> str:
    r"""Return a query without control characters, cut to ``MAX_QUERY`` characters.

    Example:
        >>> clean(" a dog\x00\n in snow ")
        'a dog in snow'
    """
    return " ".join(_CONTROL.sub(" ", text[: 4 * MAX_QUERY]).split())[:MAX_QUERY]


@dataclass(frozen=True)
class SearchResult:
    """A photo that a search returns.

    Attributes:
        row: Its row in the index.
        similarity: Cosine of the vectors of the photo and the query.
    """

    row: int
    similarity: float


def text_vectors(encoders: Encoders, texts: list[str]) -> np.ndarray:
    """Return (T, D) float32 unit rows of the texts that are not empty once cleaned."""
    texts = [text for text in map(clean, texts) if text]
    return encode_texts(encoders, texts) if texts else np.zeros((0, 1), np.float32)


def unknown_words(encoders: Encoders, texts: list[str]) -> str:
    """Return a sentence that names the words outside the model's vocabulary.

    It is empty where the model knows all words, or has no vocabulary of words.
    """
    tokenizer = encoders.text.prepare
    if not isinstance(tokenizer, WordTokenizer):
        return ""
    words = dict.fromkeys(word for text in texts for word in tokenizer.unknown_words(clean(text)))
    return f"This model has never read: {', '.join(list(words)[:10])}." if words else ""


def image_vector(encoders: Encoders, image: Image.Image, device: str = "cpu") -> np.ndarray:
    """Encode an image.

    Args:
        encoders: The model.
        image: RGB.
        device: Device of the model.

    Returns:
        (D,) float32, of unit length.
    """
    vector: np.ndarray = encode_pixels(encoders, encoders.image.transform(image)[None], device)[0]
    return vector


def combine(plus: list[np.ndarray], minus: list[np.ndarray]) -> np.ndarray:
    """Return the unit vector of the sum of ``plus`` less the sum of ``minus``, (D,) float32.

    Args:
        plus: Unit vectors, (D,), of what the photo shows.
        minus: Unit vectors, (D,), of what it does not show.

    Raises:
        UserError: exit 2 when there is nothing to search for, or the sums cancel.
    """
    if not plus and not minus:
        raise usage("nothing to search for", fix="say what the photo shows, or give an image")
    total = np.sum(plus, axis=0, dtype=np.float64) - np.sum(minus, axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    if length < 1e-3:
        message = "the query leaves out everything that it asks for"
        raise usage(message, fix="leave out something else")
    return np.asarray(total / length, np.float32)


def similarities(index: Index, query: np.ndarray) -> np.ndarray:
    """Return (N,) float32 cosines of a query, (D,) float32, with all photos.

    A cosine does not depend on the other rows, except for its last bits.

    Raises:
        UserError: exit 3 for an empty index.
    """
    if not len(index):
        raise bad_input(
            "the index holds no photo",
            where=str(index.folder),
            fix="index a folder with photos",
        )
    return np.asarray(index.embeddings @ query)


def best_rows(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the rows of the ``count`` highest scores, best first; ties in row order."""
    count = min(count, len(scores))
    if count < len(scores):
        lowest = np.partition(scores, len(scores) - count)[len(scores) - count]
        above, equal = np.flatnonzero(scores > lowest), np.flatnonzero(scores == lowest)
        rows = np.concatenate([above, equal[: count - len(above)]])
    else:
        rows = np.arange(len(scores))
    best: np.ndarray = rows[np.lexsort((rows, -scores[rows]))]
    return best


def cut_off(scores: np.ndarray) -> float:
    """Return the least similarity of a result that stands out, for one query.

    The background is the median over the collection. A result stands out under two conditions: it
    is at least half way from the background to the best result, and it is farther above the
    background than any photo is below it. Photos that have nothing to do with the query lie on
    both sides alike. A multiple of the standard deviation would not serve: cosines of a small model
    spread over all of [-1, 1], those of a large one over a tenth of it.

    Args:
        scores: (N,) float32 cosines of the query with all photos.
    """
    background, best = float(np.median(scores)), float(scores.max())
    return max(background + CUT * (best - background), 2 * background - float(scores.min()))


def search(index: Index, query: np.ndarray, count: int, *, cut: bool = False) -> list[SearchResult]:
    """Return the nearest photos, best first.

    Args:
        index: The photos.
        query: (D,) float32, of unit length.
        count: Results at most.
        cut: Whether to return only results that stand out (``cut_off``); there may be none.
    """
    return list(islice(ranked(index, query, count, cut=cut), count))


def ranked(
    index: Index, query: np.ndarray, first: int, *, cut: bool = False
) -> Iterator[SearchResult]:
    """Yield the photos, best first, for callers that skip some of them.

    Args:
        index: The photos.
        query: (D,) float32, of unit length.
        first: Results that are sorted at first; when they are used up, more are sorted.
        cut: As in ``search``.
    """
    scores = similarities(index, query)
    least = cut_off(scores) if cut else -np.inf
    begin, end = 0, first
    while begin < len(scores):
        for row in best_rows(scores, end)[begin:]:
            if scores[row] < least:
                return
            yield SearchResult(int(row), float(scores[row]))
        begin, end = end, 4 * end


def warm(index: Index) -> None:
    """Read the embeddings once, so that the first query finds them in memory."""
    if len(index):
        index.embeddings @ np.zeros(index.embeddings.shape[1], np.float32)
