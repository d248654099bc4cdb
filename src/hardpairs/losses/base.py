"""The base class of losses: options, and one way to be built and called."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn

from hardpairs.batches.info import BatchInfo
from hardpairs.core.components import Options
from hardpairs.losses.gather import World
from hardpairs.losses.memory import MemoryBatch


@dataclass(frozen=True)
class LossContext:
    """Facts of the run that a loss needs beside its own options.

    Attributes:
        world: How the ranks' rows are joined.
        sigmoid: Whether the model is trained with SigLIP's pairwise sigmoid instead of a softmax.
        hard_per_target: Hard pairs of each target in a batch; 0 for other batches.
        group_ids: (C,) int64, ascending group ids of the data's labels; ``None`` without labels.
        width: Length of the embedding that losses for labels compare; 0 without one.
        num_rows: Number of rows of the training data.
        epochs: Epochs of the run.
    """

    world: World = dataclasses.field(default_factory=World)
    sigmoid: bool = False
    hard_per_target: int = 0
    group_ids: torch.Tensor | None = None
    width: int = 0
    num_rows: int = 0
    epochs: float = 0


class Loss(nn.Module):
    """Base of the losses. A subclass has ``forward``, and a ``Config`` if it has options.

    ``forward(image_features, text_features, logit_scale, logit_bias=None, *, info=None)`` takes
    (b, D) unit features of this rank's pairs, the exponentiated logit scale, and ``info``, what the
    batch knows of its rows (``BatchInfo``). It returns the loss, a scalar, or a dictionary of named
    parts that are summed. Losses with ``needs_labels`` also take ``embedding`` (b, width), and
    ``class_weights`` where the model has them.

    Attributes:
        part: Name of the loss in the step log.
        needs_labels: Whether the loss compares embeddings of labeled rows instead of pairs.
        needs_class_weights: Whether the model learns a vector for each label for this loss.
    """

    part: ClassVar[str] = "contrastive_loss"
    needs_labels: ClassVar[bool] = False
    needs_class_weights: ClassVar[bool] = False

    Config: ClassVar[type[Options]] = Options

    @classmethod
    def from_config(cls, config: Any, context: LossContext) -> Loss:
        """Build the loss. By default the options are the constructor's arguments.

        Args:
            config: An instance of ``cls.Config``.
            context: What the loss needs to know of the run.
        """
        return cls(**vars(config))

    def end_step(self) -> None:
        """Take note that the calls of an optimizer step are over.

        With gradient accumulation a step has several calls on the same joined rows. What a loss
        keeps from step to step it changes here, and only here.
        """

    def forget(self) -> None:
        """Drop features of past batches: the model or its batches are about to change at once."""

    def hold(self, batches: Iterable[MemoryBatch]) -> None:
        """Keep features of all rows until they are made anew, if the loss compares with them."""

    def state(self) -> dict[str, Any]:
        """Return what the loss keeps from step to step, for a checkpoint; all ranks have the same.

        Tensors are on the CPU.
        """
        return {}

    def load_state(self, state: dict[str, Any], device: torch.device | str) -> None:
        """Take over what ``state`` returned.

        Args:
            state: The state; what this loss does not keep is ignored.
            device: Where the loss computes.
        """

    def statistics(self) -> tuple[dict[str, float], torch.Tensor | None]:
        """Return what to log of the last call beside the loss itself.

        Returns:
            Numbers by name, and a histogram of the weights (20,) or ``None``.
        """
        return {}, None


class Pairs(NamedTuple):
    """The pairs that a loss is called with.

    Attributes:
        image: (b, D), unit length.
        text: (b, D), unit length; row i belongs to row i of the images.
        scale: Exponentiated logit scale (1 / temperature).
        bias: Bias of the logits, where the model has one.
    """

    image: torch.Tensor
    text: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None


class PairLoss(Loss):
    """Base of the losses that are called like OpenCLIP's. A subclass has ``of_pairs``."""

    def forward(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        logit_scale: torch.Tensor,
        logit_bias: torch.Tensor | None = None,
        output_dict: bool = False,
        *,
        info: BatchInfo | None = None,
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return the loss of this rank.

        Args:
            image_features: (b, D), unit length.
            text_features: (b, D), unit length; row i belongs to row i of the images.
            logit_scale: Exponentiated (1 / temperature).
            logit_bias: Bias of the logits, where the model has one.
            output_dict: Whether to return the loss in a dictionary, under the name ``part``.
            info: What is known of the rows.
        """
        pairs = Pairs(image_features, text_features, logit_scale, logit_bias)
        loss = self.of_pairs(pairs, BatchInfo() if info is None else info)
        return {self.part: loss} if output_dict else loss

    def of_pairs(self, pairs: Pairs, info: BatchInfo) -> torch.Tensor:
        """Return the loss of this rank, a scalar.

        Args:
            pairs: This rank's pairs.
            info: What is known of the rows.
        """
        raise NotImplementedError
