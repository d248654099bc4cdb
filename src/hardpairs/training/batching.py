"""The batch maker of a run, with its options and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hardpairs.batches import BATCHES
from hardpairs.batches.base import BatchContext, BatchSampler
from hardpairs.core.components import Options
from hardpairs.core.flags import build_options
from hardpairs.data.samples import Samples
from hardpairs.training.samples import SAMPLE_FLAGS


@dataclass(frozen=True)
class BatchingConfig:
    """The batch maker of a run, with its options and sizes.

    Attributes:
        name: Name of the batch maker in ``BATCHES``.
        options: The batch maker's own options, an instance of its ``Config``.
        batch_size: Rows per rank and micro-batch.
        accumulate: Micro-batches per optimizer step.
        seed: Seed of the order.
        embedding: What the loss compares, as in ``BatchContext``.
        image_weight: Weight of the image in a pooled embedding.
    """

    name: str
    options: Options
    batch_size: int
    accumulate: int = 1
    seed: int = 0
    embedding: str | None = None
    image_weight: float = 0.5

    @classmethod
    def from_values(cls, values: Mapping[str, Any], **changed: Any) -> BatchingConfig:
        """Build the configuration from the values of flags, or from a run's stored parameters.

        Args:
            values: Values by name of the flag, with underscores. A batch maker's option that is
                missing or ``None`` has its default.
            **changed: Values that replace those of ``values``.

        Raises:
            UserError: exit 2 for an unknown batch maker, or an option out of its range.
        """
        values = {**values, **changed}
        name = values["batching"]
        return cls(
            name=name,
            options=build_options(BATCHES.load(name).Config, BATCHES[name].options, values),
            batch_size=values["batch_size"],
            accumulate=values["accum_freq"],
            seed=values["seed"],
            embedding=values.get("embed"),
            image_weight=0.5 if values.get("im_wt") is None else values["im_wt"],
        )

    def following(self, source: str) -> BatchingConfig:
        """Return the configuration with other hard pairs, or other embeddings, to follow from."""
        name = "hard_pairs" if getattr(self.options, "hard_pairs", None) else "embeddings"
        return replace(self, options=replace(self.options, **{name: source}))

    @property
    def flags(self) -> dict[str, str]:
        """Return the flags of the parameters that errors name, for ``core.errors.flags``."""
        own = {option.field: option.flag for option in BATCHES[self.name].options}
        sizes = {"batch_size": "--batch-size", "accumulate": "--accum-freq"}
        return {**SAMPLE_FLAGS, **sizes, **own}

    def sampler(
        self, samples: Samples, *, rank: int = 0, world_size: int = 1, verify: bool = False
    ) -> BatchSampler:
        """Build the batch maker, checked against the data.

        Args:
            samples: The training data.
            rank: Number of this process.
            world_size: Number of processes.
            verify: Whether to check the files that the batches follow from against their
                checksums.

        Raises:
            UserError: exit 2 for sizes that do not fit, exit 3 for data without a usable row,
                exit 4 for files of other data.
        """
        samples.check_usable()
        context = BatchContext(
            samples,
            self.batch_size,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            accumulate=self.accumulate,
            embedding=self.embedding,
            image_weight=self.image_weight,
            verify=verify,
            embeds_later=True,
        )
        sampler: BatchSampler = BATCHES.load(self.name).from_config(self.options, context)
        return sampler
