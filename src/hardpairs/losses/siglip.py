"""SigLIP's pairwise sigmoid loss over the gathered batch, with weights and masks on its negative terms."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from hardpairs.losses.clip import ContrastiveLoss
from hardpairs.losses.negatives import Negatives, diagonal
from hardpairs.losses.strip import blocks_of


class SigmoidLoss(ContrastiveLoss):
    r"""The sum over pairs of :math:`-w_{ij} \log \sigma(z_{ij} l_{ij})` divided by the number of images (Zhai et al., arXiv 2303.15343, Alg. 1).

    :math:`z` is 1 for a pair and -1 else; :math:`l` = logit_scale * cos + logit_bias. The weights are SANW's, on negative terms only;
    a known positive has weight 0 (it is no negative, and not counted as a positive either). Equal to OpenCLIP's SigLipLoss without
    weights and masks.
    """

    def contrast(self, image, text, scale, bias, negatives: Negatives) -> torch.Tensor:
        world = self.world
        image, all_text = image if world.local_loss else world.gather(image), world.gather(text)
        total = 0.0
        for block in blocks_of(len(image), self.block_rows, image.device):
            arguments = (image[block], all_text, scale, bias, negatives, block)
            total = total + (
                _block_sum(*arguments)
                if self.block_rows is None
                else checkpoint(_block_sum, *arguments, use_reentrant=False)
            )
        return total / len(image)


def _block_sum(image, all_text, scale, bias, negatives: Negatives, block: slice) -> torch.Tensor:
    logits = image @ all_text.T
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) * scale
    if bias is not None:
        logits = logits + bias
    sign = torch.full_like(logits, -1)
    diagonal(sign, negatives.first + block.start).fill_(1)
    terms = -F.logsigmoid(sign * logits)
    with torch.no_grad():
        log_weights = negatives.log_weights(block)
    return (terms if log_weights is None else terms * log_weights.exp()).sum()
