"""The task that OpenCLIP's main trains, in place of a model and a loss: with ours, or its own."""

from __future__ import annotations

import argparse
import os
from typing import Any

import open_clip
import torch
from open_clip.task import CLIPTask
from torch import nn

from hardpairs.training.hooks.build import (
    config_of,
    create_loss,
    ddp_options,
    resumed_checkpoint,
)
from hardpairs.training.hooks.run import unpack_batch
from hardpairs.training.run_loss import RunLoss


class HardPairsTask(CLIPTask):  # type: ignore[misc]
    """Train a model with a loss of ours on our batches.

    Args:
        model: A model of images and texts.
        loss: The run's loss. ``torch.compile`` leaves it out: it looks at numbers of the batch.
        ddp_options: Options for DistributedDataParallel.
        is_compiled: Whether the run compiles the task.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: RunLoss,
        *,
        ddp_options: dict[str, Any] | None = None,
        is_compiled: bool = False,
    ) -> None:
        super().__init__(model, loss=loss)
        self._ddp_options = ddp_options or {}
        if is_compiled:
            disable: Any = torch.compiler.disable
            loss.forward = disable(loss.forward)  # type: ignore[method-assign]

    def prepare_batch(
        self, batch: Any, device: torch.device, input_dtype: torch.dtype | None = None
    ) -> dict[str, torch.Tensor]:
        """Return a micro-batch on the device; in training the loss notes its rows.

        Args:
            batch: A batch of our data, or the error that a worker met.
            device: Where the model is.
            input_dtype: Dtype of the images.

        Raises:
            UserError: An error that a worker met.
        """
        images, texts = unpack_batch(batch, self.loss if self.training else nn.Identity())
        prepared: dict[str, torch.Tensor] = super().prepare_batch(
            {"image": images, "text": texts}, device, input_dtype
        )
        return prepared

    def ddp_extra_kwargs(self) -> dict[str, Any]:
        """Return options for DistributedDataParallel."""
        return {**super().ddp_extra_kwargs(), **self._ddp_options}


def create_task(args: argparse.Namespace, model: nn.Module, **options: Any) -> nn.Module:
    """Return OpenCLIP's task, or ours where the batches are ours.

    Args:
        args: OpenCLIP's options.
        model: The model to train.
        **options: Further arguments of OpenCLIP's function.
    """
    if config_of(args).batching is None:
        theirs: nn.Module = open_clip.create_task(args, model=model, **options)
        return theirs
    if args.resume and not os.path.isdir(args.resume):
        resumed_checkpoint(args)  # main reads it, too; what is ours is kept for the loss and data
    loss = create_loss(args)
    assert isinstance(loss, RunLoss)
    return HardPairsTask(
        model, loss, ddp_options=ddp_options(args), is_compiled=bool(args.torchcompile)
    )
