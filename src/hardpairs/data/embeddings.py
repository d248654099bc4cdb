"""Embeddings on disk, in clip-retrieval's layout.

A folder holds ``img_emb/img_emb_0.npy``, ``text_emb/text_emb_0.npy`` and
``metadata/metadata_0.parquet``. Its rows are the kept rows of the data set, in order; the metadata
column ``row`` says which. A folder without that column, such as clip-retrieval's own, has one
embedding per row of the data set.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from upath import UPath

from hardpairs.core.atomic import atomic_open, flush_names
from hardpairs.core.errors import bad_input, mismatch, usage
from hardpairs.core.npy import write_header
from hardpairs.core.remote import FilePath, check_allowed, file_path, is_file
from hardpairs.data.columns import UNREADABLE, load_column, parquet_source, read_parquet
from hardpairs.data.embedding_parts import FACTS, read_metadata, read_vectors
from hardpairs.data.manifest import NAME, read_manifest, stable_ids, write_manifest
from hardpairs.data.remote_rows import Rows

METADATA = pa.schema(
    [
        ("image_path", pa.string()),
        ("caption", pa.string()),
        ("row", pa.int64()),
        ("group", pa.int64()),
        ("same_image", pa.int64()),
        ("url", pa.string()),
    ]
)


@dataclass(frozen=True)
class Embeddings:
    """Image and text embeddings of the kept rows of a data set.

    Attributes:
        image: (M, D_image) float16, float32 or float64, memory-mapped or behind a URL; several
            files read like one array, by slices and by row numbers.
        text: (M, D_text), the same.
        rows: (M,) int64, ascending row numbers of the data set.
        num_samples: N, rows of the data set, rejected ones included.
        manifest: Model, preprocess, fingerprint and more; empty for foreign folders.
        positives: (M, 1 to 3) int64 ids of group, image and caption; rows that share one in any
            column are known positives. ``None`` where the metadata has none.
        urls: (M,) texts; ``None`` where the metadata has none.
    """

    image: Rows
    text: Rows
    rows: np.ndarray
    num_samples: int
    manifest: dict[str, Any]
    positives: np.ndarray | None = None
    urls: pa.ChunkedArray | None = None

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the data set; ``None`` for foreign folders."""
        return self.manifest.get("dataset_fingerprint")

    @property
    def one_space(self) -> bool:
        """Tell whether images may be compared with captions, as far as the folder says."""
        same_width = self.image.shape[1] == self.text.shape[1]
        return same_width and self.manifest.get("one_space") is not False


@dataclass(frozen=True)
class EmbeddedRows:
    """Some rows to write, in order.

    Attributes:
        image: (m, D_image) image embeddings.
        text: (m, D_text) text embeddings.
        rows: (m,) int64 row numbers of the data set.
        captions: (m,) texts.
        keys: (m,) texts.
        groups: (m,) int64 ids.
        images: (m,) int64 ids.
        urls: (m,) texts, or ``None``.
    """

    image: np.ndarray
    text: np.ndarray
    rows: np.ndarray
    captions: list[str]
    keys: list[str]
    groups: np.ndarray
    images: np.ndarray
    urls: list[str] | None = None


def write_embeddings(
    folder: str | os.PathLike[str],
    *,
    image: np.ndarray,
    text: np.ndarray,
    rows: np.ndarray,
    captions: list[str],
    keys: list[str],
    groups: np.ndarray,
    images: np.ndarray | None = None,
    manifest: dict[str, Any],
) -> None:
    """Write embeddings that are in memory, in place of those that are there.

    Args:
        folder: The output folder.
        image: (M, D_image) floating.
        text: (M, D_text) floating.
        rows: (M,) int64 row numbers of the data set, ascending.
        captions: (M,) texts.
        keys: (M,) texts.
        groups: (M,) int64 ids.
        images: (M,) int64 ids; by default the groups.
        manifest: JSON values.
    """
    part = EmbeddedRows(
        image, text, rows, captions, keys, groups, groups if images is None else images
    )
    (Path(folder) / NAME).unlink(missing_ok=True)
    flush_names(Path(folder))
    write_streamed(
        folder, [part], shapes=(image.shape, text.shape), dtype=image.dtype, manifest=manifest
    )


def write_streamed(
    folder: str | os.PathLike[str] | UPath,
    parts: Iterable[EmbeddedRows],
    *,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    dtype: np.dtype[Any],
    manifest: dict[str, Any],
) -> None:
    """Write embeddings part by part into one file of each kind, which can be memory-mapped.

    A manifest that is there stays until the new one replaces it: it is one of the same files, of a
    process that did the same work.

    Args:
        folder: The output folder, or its URL as ``remote_writing.output_folder`` returns it.
        parts: Rows in order; one part is in memory at a time.
        shapes: Shapes of all image and of all text embeddings, (M, D_image) and (M, D_text).
        dtype: Dtype of both.
        manifest: JSON values.
    """
    folder = folder if isinstance(folder, UPath) else Path(folder)
    names = ("img_emb/img_emb_0.npy", "text_emb/text_emb_0.npy", "metadata/metadata_0.parquet")
    with contextlib.ExitStack() as stack:
        sizes = [math.prod(shape) * np.dtype(dtype).itemsize for shape in shapes]
        image, text, metadata = (
            stack.enter_context(atomic_open(folder / name, size))
            for name, size in zip(names, [*sizes, None], strict=True)
        )
        for file, shape in ((image, shapes[0]), (text, shapes[1])):
            write_header(file, shape, dtype)
        table = stack.enter_context(pq.ParquetWriter(metadata, METADATA))
        for part in parts:
            image.write(np.ascontiguousarray(part.image, dtype).data)
            text.write(np.ascontiguousarray(part.text, dtype).data)
            urls = part.urls or [""] * len(part.rows)
            table.write_table(
                pa.table(
                    [part.keys, part.captions, part.rows, part.groups, part.images, urls],
                    schema=METADATA,
                )
            )
    write_manifest(folder, manifest, names)


def open_embeddings(
    folder: str | os.PathLike[str], *, verify: bool = False, allow_remote: bool | None = None
) -> Embeddings:
    """Open a folder of ours or of clip-retrieval, or a parquet file with one column of each kind.

    The columns of vectors of a parquet file are told apart by their names: one contains ``image``
    or ``img``, the other ``text``, ``txt`` or ``caption``. The columns ``row``, ``group``,
    ``same_image`` and ``caption`` mean what they mean in a folder's metadata. Groups may be numbers
    or texts; a row without one (null, NaN, blank) has no positive by its group. Embeddings made
    elsewhere are taken to be of a data set that ends with the last ``row``.

    Args:
        folder: A folder or a parquet file.
        verify: Check the hashes of the files of a folder of ours. Vectors behind a URL are checked
            later, where they are read from start to end.
        allow_remote: Whether a URL is read; ``None`` where the rows are needed in any order, for
            which a URL is too slow.

    Raises:
        UserError: exit 2 when the path does not exist, exit 3 for missing or unreadable files, exit
            4 when rows or manifest do not fit together.
    """
    place = file_path(folder)
    if isinstance(place, UPath):
        _check_remote(place, allow_remote)
    if place.suffix == ".parquet":
        return _open_parquet(place)
    if not (isinstance(place, UPath) or place.exists()):
        fix = "check the path; hardpairs embed makes them"
        raise usage("no such folder", where=str(place), fix=fix)
    manifest = read_manifest(place, verify=verify) if is_file(place / NAME) else {}
    image, text = (read_vectors(place, kind, manifest) for kind in ("img_emb", "text_emb"))
    return _fitted(place, image, text, read_metadata(place, manifest), manifest)


def _check_remote(url: UPath, allow_remote: bool | None) -> None:
    """Refuse a URL where it is not allowed, or would be read row by row (exit 2)."""
    if allow_remote is None:
        raise usage(
            "these embeddings are behind a URL",
            where=str(url),
            why="their rows are needed in any order, and each would be a request",
            fix="copy the folder to a disk; hardpairs mine and hardpairs check-ready read URLs",
        )
    check_allowed(str(url), allow_remote=allow_remote)


def _fitted(
    path: FilePath,
    image: Rows,
    text: Rows,
    metadata: dict[str, pa.ChunkedArray],
    manifest: dict[str, Any],
) -> Embeddings:
    rows = (
        metadata["row"].to_numpy()
        if "row" in metadata
        else np.arange(len(next(iter(metadata.values()), image)))
    )
    if rows.dtype.kind not in "iu":
        raise bad_input(
            "the column row must hold whole numbers, none empty",
            where=str(path),
            fix="leave the column out, or mend it",
        )
    rows = rows.astype(np.int64, copy=False)
    if not len(image) == len(text) == len(rows):
        raise mismatch(
            f"{len(image)} image rows, {len(text)} text rows, {len(rows)} metadata rows",
            where=str(path),
            fix="embed again",
        )
    num_samples = int(manifest.get("num_samples", rows[-1] + 1 if len(rows) else 0))
    if len(rows) and (np.any(np.diff(rows) <= 0) or rows[0] < 0 or rows[-1] >= num_samples):
        raise mismatch(
            "the row numbers are not ascending rows of the dataset",
            where=str(path),
            fix="embed again",
        )
    return Embeddings(
        image, text, rows, num_samples, manifest, _positives(metadata), metadata.get("url")
    )


def _open_parquet(path: FilePath) -> Embeddings:
    try:
        schema = pq.read_schema(parquet_source(path))
        vectors = [
            field.name
            for field in schema
            if isinstance(field.type, pa.ListType | pa.LargeListType | pa.FixedSizeListType)
        ]
        facts = [name for name in FACTS if name in schema.names and name not in vectors]
        table = read_parquet(path, facts)
    except UNREADABLE as error:
        raise bad_input(f"not a readable parquet file: {error}", where=str(path)) from None
    image = [name for name in vectors if re.search("image|img", name, re.IGNORECASE)]
    text = [
        name
        for name in vectors
        if name not in image and re.search("text|txt|caption", name, re.IGNORECASE)
    ]
    if len(image) != 1 or len(text) != 1:
        raise bad_input(
            "not one column of image vectors and one of text vectors; columns of vectors: "
            + (", ".join(vectors) or "none"),
            where=str(path),
            fix=f"name them: `image_embeddings` {path}:COLUMN `text_embeddings` {path}:COLUMN",
        )
    metadata = {name: table[name] for name in facts}
    return _fitted(
        path, load_column(f"{path}:{image[0]}"), load_column(f"{path}:{text[0]}"), metadata, {}
    )


def _positives(metadata: dict[str, pa.ChunkedArray]) -> np.ndarray | None:
    columns = [
        _ids(metadata[name]) for name in ("group", "same_image", "caption") if name in metadata
    ]
    if {"group", "same_image"} <= set(metadata) and np.array_equal(columns[0], columns[1]):
        del columns[1]
    return np.stack(columns, axis=1) if columns else None


def _ids(column: pa.ChunkedArray) -> np.ndarray:
    """Return (M,) int64 ids of values; a row without one (null, NaN, blank) has its own id."""
    if pa.types.is_signed_integer(column.type) and not column.null_count:
        return np.asarray(column.to_numpy(), np.int64)
    texts = ["" if value is None or value != value else str(value) for value in column.to_pylist()]
    ids, blank = stable_ids(texts), np.array([not text.strip() for text in texts], bool)
    ids[blank] = -1 - np.flatnonzero(blank)  # ids of texts are not negative
    return ids
