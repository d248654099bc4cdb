"""Retrieval of gallery images for query images, in memory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hardpairs.core.errors import bad_input
from hardpairs.data.samples import Samples
from hardpairs.embedding.embed import embed
from hardpairs.embedding.stream import Embedded
from hardpairs.metrics.gallery import SCORE_WEIGHTS, gallery_metrics
from hardpairs.metrics.neighbors import nearest
from hardpairs.models.encoders import Encoders, open_encoders
from hardpairs.models.head import EmbeddingHead, changes_space, embed_with, load_head


@dataclass(frozen=True)
class GalleryResult:
    """The nearest gallery images of each query image that can be read.

    Attributes:
        query: The data set of the queries.
        gallery: The data set of the gallery.
        query_rows: Embeddings of the queries.
        gallery_rows: Embeddings of the gallery.
        nearest: Names of gallery images, best first, by name of the query.
    """

    query: Samples
    gallery: Samples
    query_rows: Embedded
    gallery_rows: Embedded
    nearest: dict[str, list[str]]

    def numbers(self, weights: Mapping[int, float] = SCORE_WEIGHTS) -> dict[str, Any]:
        """Return counts, and ``gallery_metrics`` where both sides have labels.

        Args:
            weights: Points of the score by k of ``top-k``.
        """
        numbers: dict[str, Any] = {
            "queries": len(self.nearest),
            "gallery": len(self.gallery_rows.rows),
        }
        rejected = [*self.query_rows.rejected.values(), *self.gallery_rows.rejected.values()]
        if rejected:
            numbers["unreadable"] = dict(sorted(Counter(rejected).items()))
        if self.has_labels:
            asked, offered = self.query_rows.rows, self.gallery_rows.rows
            has_label = self.query.labelled[asked]
            numbers |= gallery_metrics(
                self.query_rows.image[has_label] @ self.gallery_rows.image.T,
                self.query.groups[asked][has_label],
                self.gallery.groups[offered],
                weights=weights,
            )
        return numbers

    @property
    def has_labels(self) -> bool:
        """Return whether both sides have labels."""
        return bool(
            self.query.labelled[self.query_rows.rows].any()
            and self.gallery.labelled[self.gallery_rows.rows].any()
        )


def image_names(samples: Samples) -> list[str]:
    """Return names of the images by row: file names if they differ, else keys, else SHARD/KEY.

    Raises:
        UserError: Exit 3, an image has several rows: answers to them could not be told apart.
    """
    keys = list(samples.keys)
    with_shard = [f"{shard}/{key}" for shard, key in zip(samples.shards, keys, strict=True)]
    for names in ([Path(key).name for key in keys], keys, with_shard):
        if len(set(names)) == len(names):
            return names
    name, times = Counter(with_shard).most_common(1)[0]
    raise bad_input(
        f"{times} rows are the image {name.removeprefix('/')}",
        where=samples.source,
        fix="one row for each image",
    )


def load_image_head(pretrained: str | None) -> EmbeddingHead | None:
    """Load a checkpoint's head, if it has layers of its own and takes the image alone."""
    head = load_head(pretrained) if pretrained and os.path.isfile(pretrained) else None
    return head if head is not None and head.kind == "image" and changes_space(head) else None


def embed_images(
    samples: Samples,
    encoders: Encoders,
    head: EmbeddingHead | None = None,
    *,
    batch_size: int = 256,
    workers: int = 2,
    device: str = "cpu",
) -> Embedded:
    """Embed a data set, with a head on its images.

    Args:
        samples: The data set.
        encoders: The model.
        head: From ``load_image_head``.
        batch_size: Rows per batch.
        workers: Processes that decode images.
        device: Device of the model.

    Raises:
        UserError: Exit 3 when no row can be embedded, exit 6 for embeddings that are not finite.
    """
    made = embed(samples, encoders, batch_size=batch_size, workers=workers, device=device)
    return made if head is None else replace(made, image=embed_with(head, made.image, made.text))


def retrieve(
    query: Samples,
    gallery: Samples,
    *,
    model: str,
    pretrained: str | None,
    head: bool = True,
    k: int = 10,
    euclidean: bool = False,
    batch_size: int = 256,
    workers: int = 2,
    device: str = "cpu",
) -> GalleryResult:
    """Find the ``k`` nearest gallery images of each query image that can be read.

    Args:
        query: Images that ask.
        gallery: Images that are searched.
        model: Name of an OpenCLIP model.
        pretrained: Its weights: a file or a tag.
        head: Whether to use the checkpoint's head, where it has layers for images.
        k: Images per query.
        euclidean: Whether to compare by distance; of unit rows, the order is that of cosine.
        batch_size: Rows per batch.
        workers: Processes that decode images.
        device: Device of the model.

    Raises:
        UserError: Exit 3 for images of one name, before anything is embedded.
    """
    query, gallery = query.by_image(), gallery.by_image()
    names, gallery_names = image_names(query), image_names(gallery)
    encoders = open_encoders(
        model=model, pretrained=pretrained, device=device, captions=gallery.captions
    )
    layers = load_image_head(pretrained) if head else None
    asked, offered = (
        embed_images(
            samples, encoders, layers, batch_size=batch_size, workers=workers, device=device
        )
        for samples in (query, gallery)
    )
    indices, _ = nearest(asked.image, offered.image, k, euclidean=euclidean)
    lists = zip(asked.rows.tolist(), offered.rows[indices].tolist(), strict=True)
    nearest_names = {
        names[row]: [gallery_names[other] for other in others] for row, others in lists
    }
    return GalleryResult(query, gallery, asked, offered, nearest_names)


def submission(nearest: Mapping[str, list[str]], group_name: str) -> dict[str, Any]:
    """Return the body of a submission to the challenge of the loss comparison.

    Args:
        nearest: Names of gallery images by name of the query.
        group_name: Name of the group that submits.
    """
    return {"groupname": group_name, "images": dict(nearest)}
