"""CLIP's loss over the gathered batch, with negatives weighted or masked: what the other contrastive losses are made of."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from hardpairs.losses.gather import World
from hardpairs.losses.known import Known
from hardpairs.losses.negatives import Facts, Negatives, similarity_source
from hardpairs.losses.strip import StripCrossEntropy, blocks_of
from hardpairs.losses.weights import SimilarityWeights


def cross_entropy_both_ways(
    logits_per_image: torch.Tensor,
    logits_per_text: torch.Tensor,
    log_weights: torch.Tensor | None,
    first: int,
) -> torch.Tensor:
    """Mean of image-to-text and text-to-image cross entropy, log-weights added to the logits (0 on the diagonal, -inf for a mask).

    Args:
        logits_per_image, logits_per_text, log_weights: (b, B); row i of all three is about the same pair, and is weighted alike.
        first: column of row 0's own pair.
    """
    labels = torch.arange(len(logits_per_image), device=logits_per_image.device) + first
    if log_weights is not None:
        logits_per_image, logits_per_text = (
            logits_per_image + log_weights,
            logits_per_text + log_weights,
        )
    return (
        F.cross_entropy(logits_per_image, labels) + F.cross_entropy(logits_per_text, labels)
    ) / 2


class Seen(NamedTuple):
    """A call of a loss, without gradients: what the step log describes. Images of this rank's rows (b, D), texts of all (B, D)."""

    image: torch.Tensor
    all_text: torch.Tensor
    scale: torch.Tensor
    negatives: Negatives


class ContrastiveLoss(nn.Module):
    """CLIP's symmetric cross entropy (Radford et al., arXiv 2103.00020, Fig. 3) with optional weights on negatives.

    Called like OpenCLIP's ClipLoss; equal to it to rounding when nothing is weighted or masked.

    Args:
        weights: of negatives by similarity; ``None``: all weigh 1.
        world: how ranks are joined. With both its flags on, as is the default, one product of logits serves both ways.
        block_rows: rows of logits held at once; the backward computes them again. ``None``: all, kept.
    """

    def __init__(
        self,
        *,
        weights: SimilarityWeights | None = None,
        world: World | None = None,
        block_rows: int | None = None,
    ) -> None:
        super().__init__()
        self.weights, self.world, self.block_rows = weights, world or World(), block_rows
        self.last: Seen | None = None

    def forward(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        logit_scale: torch.Tensor,
        logit_bias: torch.Tensor | None = None,
        output_dict: bool = False,
        *,
        positives: torch.Tensor | Known | None = None,
        exempt: torch.Tensor | None = None,
        sources: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """Loss of this rank.

        Args:
            image_features, text_features: (b, D), unit length; row i is a pair.
            logit_scale: exponentiated (1 / temperature).
            logit_bias: cancels in a softmax.
            positives: (b, G) int64 ids, pairs that share one leave the denominator; or ``Known``. ``None``: no mask.
            exempt: (b,) int64 ids; negatives that share one keep weight 1. ``None``: none.
            sources: (b, D'), (b, D'') unit rows whose similarities weight the negatives. ``None``: the features, without gradient.

        Raises:
            ValueError: for one pair in all, which has no negative.
        """
        if len(image_features) * self.world.world_size < 2:
            raise ValueError("a contrastive loss needs at least two pairs in the global batch")
        device = image_features.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            image_features, text_features = image_features.to(dtype), text_features.to(dtype)
        with torch.autocast(device, enabled=False):
            with torch.no_grad():
                negatives = self.negatives(
                    image_features, text_features, positives, exempt, sources
                )
                all_text = self.world.gather(text_features.detach())
                self.last = Seen(image_features.detach(), all_text, logit_scale.detach(), negatives)
            loss = self.contrast(image_features, text_features, logit_scale, logit_bias, negatives)
        if logit_bias is not None:
            loss = loss + 0 * logit_bias.sum()  # DDP waits for a gradient of every parameter
        return {"contrastive_loss": loss} if output_dict else loss

    def negatives(self, image, text, positives=None, exempt=None, sources=None) -> Negatives:
        """Weights and masks of this rank's rows against the global batch (arguments as ``forward``)."""
        world, source = self.world, None
        if self.weights is not None:
            source = similarity_source(
                *(sources or (image.detach(), text.detach())), self.weights.alpha
            )
        own = Facts(Known.of(positives), exempt if self.weights is not None else None, source)
        columns = own.gathered(world)
        negatives = Negatives(columns.of(world), columns, world.first_row(len(image)), self.weights)
        if self.weights is not None and self.weights.normalize:
            blocks = blocks_of(len(negatives.rows.source), self.block_rows, image.device)
            negatives.normalise(world, blocks, keep=self.block_rows is None)
        return negatives

    def contrast(self, image, text, scale, bias, negatives: Negatives) -> torch.Tensor:
        """The softmax form. By two products when OpenCLIP's flags ask for its own partial gradients on several ranks."""
        world = self.world
        if world.world_size == 1 or (world.local_loss and world.gather_with_grad):
            return StripCrossEntropy.apply(
                image, text, scale, self.last.all_text, negatives, world, self.block_rows
            )
        all_image, all_text = world.gather_pairs(image, text)
        if not world.local_loss:
            image, text = all_image, all_text
        logits_per_image, logits_per_text = scale * image @ all_text.T, scale * text @ all_image.T
        log_weights = negatives.log_weights(slice(0, len(image)))
        return cross_entropy_both_ways(
            logits_per_image, logits_per_text, log_weights, negatives.first
        )
