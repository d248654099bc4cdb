"""The rows that are linked: embeddings of both sides, names and labels."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace

import numpy as np

from hardpairs.core.errors import bad_input, mismatch, non_finite, usage
from hardpairs.core.vectors import rows_without_direction, unit_rows
from hardpairs.data.embeddings import Embeddings, open_embeddings
from hardpairs.data.manifest import check_same_dataset, sha256_file
from hardpairs.data.samples import Samples
from hardpairs.metrics.pooling import pooled
from hardpairs.models.head import EmbeddingHead, changes_space, embed_with, load_head

POOLINGS = ("mean", "head")
"""Ways to make one vector of image and text: by weight, or by the head of a checkpoint."""


@dataclass(frozen=True)
class LinkSource:
    """Source of the rows to link: a folder of embeddings, or a model that embeds a data set.

    Attributes:
        samples: The data set: labels, names and images; ``None`` without one.
        data: Its name, for messages.
        embeddings: A folder of embeddings; ``None`` where ``model`` embeds the samples.
        model: Name of an OpenCLIP model.
        device: Device of the model.
        head: Path of the checkpoint with the head, where the embeddings were made by it.
        pooling: One of ``POOLINGS``; ``None``: the head where it has layers of its own.
    """

    samples: Samples | None
    data: str = ""
    embeddings: str | None = None
    model: str | None = None
    device: str = "cpu"
    head: str | None = None
    pooling: str | None = None

    def load_head(self, checkpoint: str | None) -> EmbeddingHead | None:
        """Load the head to link by: the one asked for, or a checkpoint's with layers of its own.

        Raises:
            UserError: Exit 2, a head is asked for and there is none.
        """
        head = None if self.pooling == "mean" else self._stored_head(checkpoint)
        if self.pooling == "head" and head is None:
            raise usage(
                "no checkpoint with a head is given",
                where=self.head or checkpoint or self.embeddings or "",
                fix="a checkpoint as `head`, or `pooling` mean",
            )
        asked = self.pooling is not None or self.head is not None
        return head if head is not None and (asked or changes_space(head)) else None

    def image_weight(self, checkpoint: str | None) -> float:
        """Return the weight that a checkpoint's pooling head gives the image, else 0.5."""
        head = self._stored_head(checkpoint) if self.pooling is None else None
        if head is None or head.kind != "pooled":
            return 0.5
        learned = head.options["learned"]
        weight = float(head.weight_logit.detach().sigmoid() if learned else head.image_weight)
        path = self.head or checkpoint
        print(f"{path}: its head gives the image a weight of {weight:.3f}", file=sys.stderr)
        return weight

    def _stored_head(self, checkpoint: str | None) -> EmbeddingHead | None:
        path = self.head or checkpoint
        return load_head(path) if path and os.path.isfile(path) else None

    def rows(self, checkpoint: str | None = None, head: EmbeddingHead | None = None) -> LinkRows:
        """Read the embeddings, or embed the samples.

        Args:
            checkpoint: Weights of the model: a file or a tag of OpenCLIP.
            head: A head that makes one vector of both sides; ``None``: they are pooled by weight.

        Raises:
            UserError: Exit 2, 3, 4 or 6 for embeddings that do not belong to the data or to the
                head, that are empty, or that are not finite.
        """
        embeddings = self._open(checkpoint, head) if self.embeddings else self._embed(checkpoint)
        return LinkRows.of(embeddings, self.samples, head)

    def _open(self, checkpoint: str | None, head: EmbeddingHead | None) -> Embeddings:
        assert self.embeddings is not None
        embeddings = open_embeddings(self.embeddings, verify=True)
        path = self.head or checkpoint
        if head is not None and path:
            weights = f"sha256:{sha256_file(path)}"
            check_same_weights(weights, embeddings, ours_name=path, theirs_name=self.embeddings)
        check_embedded_from(self.samples, embeddings, self.data, self.embeddings)
        return embeddings

    def _embed(self, checkpoint: str | None) -> Embeddings:
        from hardpairs.embedding.embed import embed
        from hardpairs.models.encoders import open_encoders

        assert self.samples is not None and self.model is not None
        encoders = open_encoders(
            model=self.model,
            pretrained=checkpoint,
            device=self.device,
            captions=self.samples.captions,
        )
        made = embed(self.samples, encoders, device=self.device)
        manifest = {"dataset_fingerprint": self.samples.fingerprint, **encoders.description}
        return Embeddings(made.image, made.text, made.rows, len(self.samples), manifest)


@dataclass(frozen=True)
class LinkRows:
    """M rows to link.

    Attributes:
        image: (M, D) float32, unit rows.
        text: (M, D) float32, unit rows, of any width where one side alone is used.
        numbers: (M,) int64 rows of the data set.
        keys: Their names.
        labels: (M,) int64 from 0; -1 where there is none.
        weights: Fingerprint of the weights that embedded them, where it is known.
        joint: (M, E) float32, a head's output for both sides; ``None``: they are pooled by weight.
    """

    image: np.ndarray
    text: np.ndarray
    numbers: np.ndarray
    keys: list[str]
    labels: np.ndarray
    weights: str | None = None
    joint: np.ndarray | None = None

    @classmethod
    def of(
        cls, embeddings: Embeddings, samples: Samples | None, head: EmbeddingHead | None = None
    ) -> LinkRows:
        """Build the rows from embeddings.

        Args:
            embeddings: Embeddings of M rows.
            samples: What they were made of: labels and names.
            head: A head that makes one vector of both sides.

        Raises:
            UserError: Exit 3 without embeddings, 4 for a head of another width, 6 for rows that
                are zero or not finite.
        """
        numbers = np.asarray(embeddings.rows)
        if not len(numbers):
            raise bad_input("no embeddings: there is nothing to link")
        image, text = (
            _unit(np.asarray(side[:], np.float32), numbers)
            for side in (embeddings.image, embeddings.text)
        )
        width = None if head is None else head.options["width"]
        if head is not None and not image.shape[1] == text.shape[1] == width:
            raise mismatch(
                f"the head is for rows of {width} numbers, "
                f"these have {image.shape[1]} and {text.shape[1]}"
            )
        if samples is None:
            keys, labels = [str(row) for row in numbers], np.full(len(numbers), -1, np.int64)
        else:
            keys, labels = [samples.names[row] for row in numbers], row_labels(samples, numbers)
        joint = None if head is None else embed_with(head, image, text)
        return cls(image, text, numbers, keys, labels, embeddings.manifest.get("weights"), joint)

    def where(self, chosen: np.ndarray) -> LinkRows:
        """Return some of the rows.

        Args:
            chosen: (M,) bool.
        """
        return replace(
            self,
            image=self.image[chosen],
            text=self.text[chosen],
            numbers=self.numbers[chosen],
            keys=[self.keys[row] for row in np.flatnonzero(chosen)],
            labels=self.labels[chosen],
            joint=None if self.joint is None else self.joint[chosen],
        )

    def pooled(self, image_weight: float) -> np.ndarray:
        """Return the (M, E) unit rows to link by: the head's output, else both sides pooled.

        Args:
            image_weight: From 0 (texts alone) to 1 (images alone).

        Raises:
            UserError: Exit 2, both sides are used, and they are of different widths.
        """
        if self.joint is not None:
            return self.joint
        if image_weight in (0.0, 1.0):
            return self.image if image_weight else self.text
        if self.image.shape != self.text.shape:
            widths = f"{self.image.shape[1]} and {self.text.shape[1]} numbers"
            raise usage(
                f"image and text embeddings are of different spaces ({widths})",
                fix="`image_weight` 1 or 0, or embed with one CLIP model",
            )
        return pooled(self.image, self.text, image_weight)


def row_labels(samples: Samples, rows: np.ndarray) -> np.ndarray:
    """Return labels of some rows of a data set, numbered from 0; -1 without a label.

    Args:
        samples: The data set.
        rows: (M,) int64.

    Returns:
        (M,) int64, equal where the rows' labels are.
    """
    labels, has_label = np.full(len(rows), -1, np.int64), samples.labelled[rows]
    labels[has_label] = np.unique(samples.groups[rows][has_label], return_inverse=True)[1]
    return labels


def mean_cosine(unit: np.ndarray) -> float:
    """Return the mean over all pairs of different rows of (N, D) unit rows; 0 for a single row.

    It follows from the length of the sum of the rows.
    """
    count, total = len(unit), unit.sum(axis=0, dtype=np.float64)
    return float((total @ total - count) / (count * (count - 1))) if count > 1 else 0.0


def check_embedded_from(
    samples: Samples | None, embeddings: Embeddings, data: str, folder: str
) -> None:
    """Refuse embeddings of another data set.

    Args:
        samples: The data set; ``None``: nothing is checked.
        embeddings: The embeddings.
        data: Name of the data set, for the message.
        folder: Folder of the embeddings, for the message.

    Raises:
        UserError: Exit 4, the number of rows or the fingerprint differs.
    """
    if samples is None:
        return
    if embeddings.num_samples != len(samples):
        raise mismatch(
            f"{embeddings.num_samples} embedded rows, {len(samples)} in the data",
            where=f"{folder}, {data}",
        )
    if embeddings.fingerprint:
        check_same_dataset(
            samples.fingerprint, embeddings.fingerprint, ours_name=data, theirs_name=folder
        )


def check_same_weights(
    ours: str | None, theirs: Embeddings, *, ours_name: str, theirs_name: str
) -> None:
    """Refuse embeddings whose manifest names other weights; weights that are not known pass.

    Args:
        ours: Fingerprint of the weights.
        theirs: The embeddings.
        ours_name: Name of the weights, for the message.
        theirs_name: Folder of the embeddings, for the message.

    Raises:
        UserError: Exit 4, the weights differ.
    """
    made = theirs.manifest.get("weights")
    if None not in (ours, made) and ours != made:
        raise mismatch(
            f"{theirs_name} was embedded by other weights than {ours_name}",
            where=f"{ours_name}: {ours}, {theirs_name}: {made}",
            why="their rows have no space in common",
            fix="embed again by the same ones",
        )


def _unit(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    bad = numbers[rows_without_direction(rows)]
    if len(bad):
        raise non_finite(
            f"{len(bad)} embeddings are zero or not finite",
            where=f"rows {bad[:10].tolist()}",
            fix="embed again without these rows",
        )
    return unit_rows(rows)
