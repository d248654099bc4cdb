"""The loss of a run as the patched trainer calls it, with what the batches know of their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from hardpairs.batches import (
    HARD_PAIR,
    RANDOM,
    SPARE,
    TARGET,
    BatchInfo,
)
from hardpairs.core.errors import non_finite
from hardpairs.data.samples import Samples
from hardpairs.data.unreadable import UnreadableImages
from hardpairs.losses import LossContext, TrainingLoss, build_loss
from hardpairs.training.config import TrainingConfig
from hardpairs.training.dataset import Batch
from hardpairs.training.finite import FIX
from hardpairs.training.joined_gradients import JoinedGradients, Parts, can_share
from hardpairs.training.similarities import FeatureSource, open_features

COUNTS = {"targets": TARGET, "mined": HARD_PAIR, "random": RANDOM, "reserves": SPARE}
"""Column of metrics.csv -> the role whose rows it counts."""

WHOLE_OUTPUTS = ("logit_scale", "logit_bias")
"""Outputs of a model that are not of its rows."""


class RunLoss(nn.Module):
    """A training loss that remembers its batches, and counts what a run has trained on.

    OpenCLIP's trainer calls ``loss(**model_output)`` and nothing else. So ``take`` notes each
    micro-batch before the model runs, and ``forward`` hands the notes to the loss.

    Args:
        loss: The training loss.
        samples: The training data, for the paths of unreadable images.
        feature_sources: Field of ``BatchInfo`` -> the features that it gets.
        accumulate: Micro-batches whose rows one call holds.
        max_bad_fraction: Share of unreadable images from which the run stops.
        world_size: Number of processes.
    """

    def __init__(
        self,
        loss: TrainingLoss,
        samples: Samples,
        *,
        feature_sources: Mapping[str, FeatureSource] | None = None,
        accumulate: int = 1,
        max_bad_fraction: float = 1.0,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.feature_sources = dict(feature_sources or {})
        self.accumulate, self.world_size = accumulate, world_size
        self.counts: Counter[str] = Counter()
        self.unreadable = UnreadableImages(samples, max_bad_fraction, log=True)
        self._taken: list[BatchInfo] = []
        self._calls = 0
        self._joined = JoinedGradients()

    def take(self, batch: Batch) -> None:
        """Note a micro-batch; the last ``accumulate`` are kept.

        Raises:
            UserError: Exit 3 when too many images are unreadable.
        """
        made = {source: source(batch) for source in set(self.feature_sources.values())}
        features: dict[str, Any] = {
            name: made[source] for name, source in self.feature_sources.items()
        }
        info = replace(batch.info, **features)
        self._taken = [*self._taken, info][-self.accumulate :]
        roles = torch.as_tensor(info.roles)
        self.counts.update({name: int((roles == role).sum()) for name, role in COUNTS.items()})
        self.counts["unreadable"] += len(info.unreadable)
        if info.unreadable:
            rows = min(sum(self.counts[name] for name in COUNTS), len(self.unreadable.samples))
            self.unreadable.add(info.unreadable, of=rows, tolerated=len(info) // 16)

    def forward(
        self, image_features: torch.Tensor, text_features: torch.Tensor, *args: Any, **kwargs: Any
    ) -> dict[str, torch.Tensor]:
        """Return the parts of the loss by name.

        Args:
            image_features: (b, D), unit length.
            text_features: (b, D), unit length.
            *args: Further outputs of the model, as the loss takes them.
            **kwargs: Likewise.

        Raises:
            UserError: Exit 6 when the loss is not finite on any rank.
        """
        info = BatchInfo.joined(self._taken).to(image_features.device)
        # With FSDP each is of shape (1,).
        whole = {name: kwargs[name] for name in WHOLE_OUTPUTS if kwargs.get(name) is not None}
        kwargs |= {name: value.reshape(()) for name, value in whole.items()}
        if self.accumulate > 1:
            kwargs = {name: self._share(name, value) for name, value in kwargs.items()}
            features = {"image_features": image_features, "text_features": text_features}
            parts = self._accumulated(features | kwargs, *args, info=info)
        else:
            parts = self.loss(image_features, text_features, *args, info=info, **kwargs)
        if not self._all_finite(parts):
            finite = torch.isfinite(image_features).all(1) & torch.isfinite(text_features).all(1)
            # Of features that gradient accumulation has joined, the last are the micro-batch's.
            rows = torch.as_tensor(self._taken[-1].rows)
            wrong = rows[~finite.cpu()[-len(rows) :]].tolist()
            raise non_finite(
                "the loss is not finite; nothing was updated or saved with it",
                where=f"rows {wrong} of this rank's last micro-batch {rows.tolist()}",
                fix=FIX,
            )
        self._calls += 1
        if self._calls % self.accumulate == 0:
            self.loss.end_step()
            self._joined = JoinedGradients()
        return parts

    def _accumulated(self, inputs: dict[str, Any], *args: Any, info: BatchInfo) -> Parts:
        """Return the parts of the loss at a micro-batch's call, from one evaluation where it can.

        All ranks do the same: an evaluation is a collective call.
        """
        evaluate: Callable[..., Parts] = partial(self.loss, info=info)
        if args or not can_share(inputs):
            sides = (inputs.pop("image_features"), inputs.pop("text_features"))
            return evaluate(*sides, *args, **inputs)
        if self._calls % self.accumulate == 0:
            return self._joined.compute(evaluate, inputs)
        fits = torch.tensor(self._joined.fit(inputs), device=inputs["image_features"].device)
        if self._on_all_ranks(fits):
            return self._joined.parts(inputs)
        return evaluate(**inputs)

    def _share(self, name: str, value: Any) -> Any:
        """Return an output with a share of its gradient if all calls of a step get it whole.

        Of the features a call has the gradients of one micro-batch; the calls' gradients of the
        logit scale and bias would add up to a multiple of the joined batch's.
        """
        if name not in WHOLE_OUTPUTS or value is None:
            return value
        constant = value.detach()
        return constant + (value - constant) / self.accumulate

    def _all_finite(self, parts: dict[str, torch.Tensor]) -> bool:
        """Return whether all parts are finite on all ranks; one that stopped alone would block."""
        return self._on_all_ranks(torch.stack([p.isfinite().all() for p in parts.values()]).all())

    def _on_all_ranks(self, fact: torch.Tensor) -> bool:
        """Tell whether a fact, () bool, is true on all ranks."""
        number = fact.float()
        if self.world_size > 1:
            dist.all_reduce(number, dist.ReduceOp.MIN)
        return bool(number)


def build_run_loss(
    config: TrainingConfig,
    samples: Samples,
    context: LossContext,
    *,
    start_model: Callable[[], FeatureSource],
    accumulate: int = 1,
) -> RunLoss:
    """Build the loss of a configuration, with the features that its options name.

    Args:
        config: The run's configuration.
        samples: The training data.
        context: What the loss needs to know of the run.
        start_model: Returns features of the start model; called only where an option asks for them.
        accumulate: Micro-batches per optimizer step.

    Raises:
        UserError: Exit 3 or 4 for stored embeddings that are missing or of other data.
    """
    sources: dict[str, FeatureSource] = {
        field: open_features(field, folder, samples)
        for field, folder in config.stored_features.items()
    }
    if config.start_features:
        sources |= dict.fromkeys(config.start_features, start_model())
    return RunLoss(
        build_loss(config.loss_fn, config.loss, replace(context, num_rows=len(samples))),
        samples,
        feature_sources=sources,
        accumulate=accumulate,
        max_bad_fraction=config.data.max_bad_fraction,
        world_size=context.world.world_size,
    )
