"""The base class of metrics that a name chooses.

The smallest metric that works, in a file of ``hardpairs/metrics``, or in a package of your own
under the entry point group ``hardpairs.metrics``:

    @register("modality_gap")
    class ModalityGap(Metric):
        \"\"\"Distance between the mean image and the mean text.\"\"\"

        values = ("modality_gap",)
        lower_is_better = ("modality_gap",)

        def compute(self, inputs: MetricInputs) -> dict[str, float]:
            gap = inputs.image.mean(axis=0) - inputs.text.mean(axis=0)
            return {"modality_gap": float(np.linalg.norm(gap))}

Validation then writes ``modality_gap`` after every epoch, and ``--save-best modality_gap`` chooses
the checkpoint by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hardpairs.core.components import Options
from hardpairs.core.errors import bad_input
from hardpairs.data.samples import Samples
from hardpairs.metrics import METRICS
from hardpairs.metrics.groups import first_of_each


@dataclass(frozen=True)
class MetricInputs:
    """Embeddings of N rows, and what is known of the rows.

    Attributes:
        image: (N, D) float32 unit rows.
        text: (N, D) float32 unit rows.
        joint: (N, E) float32 rows: a head's output for image and text; without a head, ``image``.
        group_ids: (N,) int64; any image and text of one group belong together.
        has_label: (N,) bool; ``group_ids`` of such a row is its label.
        image_ids: (N,) int64; equal for rows with the same image.
        text_ids: (N,) int64; equal for rows with the same text.
    """

    image: np.ndarray
    text: np.ndarray
    joint: np.ndarray
    group_ids: np.ndarray
    has_label: np.ndarray
    image_ids: np.ndarray
    text_ids: np.ndarray

    @classmethod
    def of_samples(
        cls,
        samples: Samples,
        rows: Sequence[int] | np.ndarray,
        image: np.ndarray,
        text: np.ndarray,
        joint: np.ndarray | None = None,
    ) -> MetricInputs:
        """Build the inputs from embeddings of some rows of a data set.

        Args:
            samples: The data set.
            rows: (N,) int64 rows that are embedded.
            image: (N, D) float32 unit rows.
            text: (N, D) float32 unit rows.
            joint: (N, E) float32, a head's output; ``None``: the image rows.
        """
        return cls(
            image,
            text,
            image if joint is None else joint,
            group_ids=samples.groups[rows],
            has_label=samples.labelled[rows],
            image_ids=samples.images[rows],
            text_ids=samples.texts[rows],
        )

    @property
    def labeled(self) -> np.ndarray:
        """(M,) int64 rows with a label, of equal rows of ``joint`` the first.

        Rows of one image that differ in captions alone are one row of ``image``, so that labels of
        one image each would always be found.
        """
        rows = np.flatnonzero(self.has_label)
        ids = [self.image_ids] if self.joint is self.image else [self.image_ids, self.text_ids]
        first = first_of_each(self.group_ids[rows], *(each[rows] for each in ids))
        return np.asarray(rows[first])

    @property
    def labels(self) -> np.ndarray:
        """(M,) int64 labels of the rows ``labeled``."""
        return np.asarray(self.group_ids[self.labeled])

    @property
    def labels_repeat(self) -> bool:
        """Return whether any two of the rows ``labeled`` share a label."""
        return len(np.unique(self.labels)) < len(self.labels)


class Metric:
    """Base of all metrics: named numbers that tell how good embeddings are.

    The class attributes are written out as literals, so that lists need no import.

    Attributes:
        name: The name in the registry.
        values: Names of the numbers that ``compute`` returns.
        lower_is_better: Those of them of which a lower number is better.
        needs_labels: Whether ``compute`` needs rows that share a label.
        config: The options.
    """

    name: ClassVar[str]
    values: ClassVar[tuple[str, ...]]
    lower_is_better: ClassVar[tuple[str, ...]] = ()
    needs_labels: ClassVar[bool] = False

    @dataclass(frozen=True)
    class Config(Options):
        """No options."""

    def __init__(self, config: Options | None = None) -> None:
        self.config = self.Config() if config is None else config

    def compute(self, inputs: MetricInputs) -> dict[str, float]:
        """Return the numbers by name. Shares are fractions, ranks count from 1."""
        raise NotImplementedError


def compute_all(inputs: MetricInputs) -> dict[str, float]:
    """Return the numbers of every metric; of those that need labels only where labels repeat."""
    names = [n for n in METRICS if inputs.labels_repeat or not METRICS.load(n).needs_labels]
    return compute_metrics(inputs, names)


def compute_metrics(inputs: MetricInputs, names: Iterable[str]) -> dict[str, float]:
    """Return the numbers of some metrics.

    Args:
        inputs: The embeddings.
        names: Names of ``METRICS``.

    Raises:
        UserError: Exit 2 for an unknown name; exit 3, a metric needs labels that repeat.
    """
    numbers: dict[str, float] = {}
    for name in names:
        metric: type[Metric] = METRICS.load(name)
        if metric.needs_labels and not inputs.labels_repeat:
            raise bad_input(
                f"no two images share a label, which the metric {name} needs",
                fix="name the column of labels",
            )
        numbers |= metric().compute(inputs)
    return numbers
