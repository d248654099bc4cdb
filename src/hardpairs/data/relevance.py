"""What is right for a caption and for an image, in files beside a data set.

ECCV Caption and CxC are such files, of COCO's captions and images by their ids::

    eccv_caption_to_image.json    {"552666": [445512, 68120, ...], ...}
    eccv_image_to_caption.json    {"373119": [560256, 646721, ...], ...}
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from hardpairs.core.errors import bad_input, mismatch, usage
from hardpairs.core.parse import parse_json
from hardpairs.core.remote import file_path
from hardpairs.data.samples import Samples

MAX_ABSENT = 0.01
"""Share of the right items that a data set may lack. ECCV Caption names two captions that are not
among the 25,000 (five an image) that most people rank."""
Truth = dict[str, list[str]]
"""Ids of the right items by the id of the query."""


@dataclass(frozen=True)
class Relevance:
    """The right answers, by the images and captions of a data set.

    Attributes:
        image_of: (N,) int64, number of each row's image.
        text_of: (N,) int64, number of each row's caption.
        to_image: (T, I), not zero where an image is right for a caption. The row of a caption that
            is no query is empty.
        to_text: (I, T), not zero where a caption is right for an image.
        absent_images: (T,) int64, right images of each caption that the data set lacks.
        absent_texts: (I,) int64, right captions of each image that the data set lacks.
        is_reversed: Whether ``to_text`` is what one file says, the other way round.
    """

    image_of: np.ndarray
    text_of: np.ndarray
    to_image: csr_array
    to_text: csr_array
    absent_images: np.ndarray
    absent_texts: np.ndarray
    is_reversed: bool


def open_relevance(files: Sequence[str | os.PathLike[str]], samples: Samples) -> Relevance:
    """Read what is right for the captions and images of a data set.

    Args:
        files: A JSON file of the images of each caption, and one of the captions of each image.
            Without the second one it is the first one, the other way round.
        samples: The data set, which has to say the ids of captions and images.

    Raises:
        UserError: Exit 2 for other numbers of files, or files in the wrong order; exit 3 for a data
            set without ids or a file of another form; exit 4 for queries that the data set lacks,
            or for more than ``MAX_ABSENT`` of the right items.
    """
    if not 1 <= len(files) <= 2:
        raise usage(
            "`relevance` is one or two files", fix="the images of each caption, then the reverse"
        )
    if samples.image_ids is None or samples.caption_ids is None:
        raise bad_input(
            "the data does not say the ids of its images and captions",
            where=samples.source,
            why="the relevance names them by their ids",
            fix="a table with the columns image_id and caption_id, or Karpathy's dataset_coco.json",
        )
    images, image_of = _numbered(list(samples.image_ids))
    texts, text_of = _numbered(list(samples.caption_ids))
    if len(texts) < len(samples):
        raise bad_input("two rows have one caption_id", where=samples.source)
    truth = _read(files[0])
    if len(files) == 1 and _fits(truth, images, texts) and not _fits(truth, texts, images):
        raise usage(
            "the file has the captions of each image",
            where=str(files[0]),
            fix="give the images of each caption first, then this file",
        )
    to_image, lacking = _matrix(truth, texts, images, str(files[0]), ("caption", "image"))
    if len(files) == 1:
        none = np.zeros(len(images), np.int64)
        to_text = csr_array(to_image.T)
        return Relevance(image_of, text_of, to_image, to_text, lacking, none, is_reversed=True)
    to_text, lacking_texts = _matrix(
        _read(files[1]), images, texts, str(files[1]), ("image", "caption")
    )
    return Relevance(
        image_of, text_of, to_image, to_text, lacking, lacking_texts, is_reversed=False
    )


def _numbered(ids: list[str]) -> tuple[dict[str, int], np.ndarray]:
    """Return the number of each id, in order of first appearance, and that of each row."""
    numbers: dict[str, int] = {}
    return numbers, np.array([numbers.setdefault(each, len(numbers)) for each in ids], np.int64)


def _read(path: str | os.PathLike[str]) -> Truth:
    if not file_path(path).is_file():
        raise usage("no such file of `relevance`", where=str(path), fix="check the path")
    try:
        content = parse_json(file_path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not content:
            raise TypeError(f"a {type(content).__name__}")
        return {
            str(query): [str(item) for item in (items if isinstance(items, list) else [items])]
            for query, items in content.items()
        }
    except (ValueError, TypeError) as error:
        raise bad_input(
            f"not lists of ids by an id: {error}",
            where=str(path),
            fix='{"caption id": [image id, image id], ...}',
        ) from None


def _fits(truth: Truth, queries: dict[str, int], items: dict[str, int]) -> bool:
    return truth.keys() <= queries.keys() and all(
        item in items for found in truth.values() for item in found
    )


def _matrix(
    truth: Truth,
    queries: dict[str, int],
    items: dict[str, int],
    where: str,
    names: tuple[str, str],
) -> tuple[csr_array, np.ndarray]:
    """Return what is right as (Q, G) of ones, and how many right items of each query are absent."""
    pairs = [(query, item) for query, found in truth.items() for item in dict.fromkeys(found)]
    unknown = [query for query in truth if query not in queries]
    absent = [(query, item) for query, item in pairs if item not in items]
    if not unknown and len(absent) > MAX_ABSENT * len(pairs):
        unknown, names = list(dict.fromkeys(item for _, item in absent)), names[::-1]
    if unknown:
        raise mismatch(
            f"{len(unknown)} {names[0]}s of the relevance are not in the data",
            where=f"{where}: {names[0]} {', '.join(sorted(unknown)[:3])}",
            why="numbers of a part cannot be compared with those of the whole",
            fix="evaluate on the data that the file is about, and check its ids",
        )
    known = [(queries[query], items[item]) for query, item in pairs if item in items]
    rows, columns = np.array(known, np.int64).reshape(-1, 2).T
    ones = np.ones(len(known), np.int8)
    lacking = np.bincount([queries[query] for query, _ in absent], minlength=len(queries))
    shape = (len(queries), len(items))
    return csr_array((ones, (rows, columns)), shape=shape), lacking.astype(np.int64)
