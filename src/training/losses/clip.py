"""CLIP's loss over the gathered batch, with negatives weighted or masked: what the other contrastive losses are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from training.losses.gather import World


def known_positives(rows: torch.Tensor, columns: torch.Tensor, first: int) -> torch.Tensor:
    """Which columns are known positives of a row without being its own pair.

    Args:
        rows, columns: (b, G), (B, G) int64 ids; equal in any column means positive. ``first``: column number of row 0.

    Returns:
        (b, B) bool, False on the diagonal (row i, column first + i).
    """
    mask = torch.zeros(len(rows), len(columns), dtype=torch.bool, device=rows.device)
    for row_ids, column_ids in zip(rows.T, columns.T, strict=True):
        mask |= row_ids[:, None] == column_ids[None, :]
    own = torch.arange(len(rows), device=rows.device)
    mask[own, own + first] = False
    return mask


def cross_entropy_both_ways(
    logits_per_image: torch.Tensor, logits_per_text: torch.Tensor, log_weights: torch.Tensor | None, first: int
) -> torch.Tensor:
    """Mean of image-to-text and text-to-image cross entropy, log-weights added to the logits (0 on the diagonal, -inf for a mask).

    Args:
        logits_per_image, logits_per_text, log_weights: (b, B); the same log-weights serve both ways, since pair (i, j) and (j, i) are alike.
        first: column of row 0's own pair.
    """
    labels = torch.arange(len(logits_per_image), device=logits_per_image.device) + first
    if log_weights is not None:
        logits_per_image, logits_per_text = logits_per_image + log_weights, logits_per_text + log_weights
    return (F.cross_entropy(logits_per_image, labels) + F.cross_entropy(logits_per_text, labels)) / 2


class ContrastiveLoss(nn.Module):
    """CLIP's symmetric cross entropy (Radford et al., arXiv 2103.00020, Fig. 3) with optional weights on negatives.

    Called like OpenCLIP's ClipLoss; equal to it to rounding when nothing is weighted or masked. ``log_weights`` is what a subclass
    changes.

    Args:
        world: how ranks are joined.
    """

    def __init__(self, *, world: World | None = None) -> None:
        super().__init__()
        self.world = world or World()

    def log_weights(
        self,
        image: torch.Tensor,
        text: torch.Tensor,
        all_image: torch.Tensor,
        all_text: torch.Tensor,
        positives: torch.Tensor | None,
        first: int,
    ) -> torch.Tensor | None:
        """(b, B) log-weights in at least float32, or ``None`` for CLIP itself. Called without gradient."""
        return None if positives is None else torch.zeros(positives.shape, device=image.device).masked_fill_(positives, -torch.inf)

    def forward(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        logit_scale: torch.Tensor,
        logit_bias: torch.Tensor | None = None,
        output_dict: bool = False,
        *,
        positives: torch.Tensor | None = None,
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """Loss of this rank.

        Args:
            image_features, text_features: (b, D), unit length; row i is a pair.
            logit_scale: exponentiated (1 / temperature).
            positives: (b, G) int64 ids; pairs that share one leave the denominator. ``None``: no mask.

        Raises:
            ValueError: for one pair in all, which has no negative.
        """
        world, count = self.world, len(image_features)
        all_image, all_text = world.gather_pairs(image_features, text_features)
        if len(all_image) < 2:
            raise ValueError("a contrastive loss needs at least two pairs in the global batch")
        image, text = (image_features, text_features) if world.local_loss else (all_image, all_text)
        first = world.first_row(count)
        logits_per_image, logits_per_text = logit_scale * image @ all_text.T, logit_scale * text @ all_image.T
        if logit_bias is not None:
            logits_per_image, logits_per_text = logits_per_image + logit_bias, logits_per_text + logit_bias
        with torch.no_grad():
            mask = None
            if positives is not None:
                everyone = world.gather(positives)
                mask = known_positives(world.rows_of(everyone), everyone, first)
            log_weights = self.log_weights(image, text, all_image, all_text, mask, first)
        loss = cross_entropy_both_ways(logits_per_image, logits_per_text, log_weights, first)
        return {"contrastive_loss": loss} if output_dict else loss
