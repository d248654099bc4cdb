"""Similarity-aware negative weighting (CLIPSE): negatives that look or read alike weigh less (debias), or a band of them more."""

from __future__ import annotations

import torch

from training.losses.clip import ContrastiveLoss
from training.losses.gather import World

WEIGHTINGS = ("exp", "sigmoid", "bandpass")
LOW, HIGH, BAND = 1e-3, 0.8, 0.1  # CLIPSE's log columns: w_low_pct, w_high_pct, band_coverage_pct


class SANWLoss(ContrastiveLoss):
    r"""CLIP's loss with weighted negatives: row i is the cross entropy of :math:`l_{ij} + \log w_{ij}`, :math:`w_{ii} = 1`.

    With :math:`A_{ij}` = alpha * text similarity + (1 - alpha) * image similarity, without gradient:

    * ``exp`` (debias): w = exp(-lam * relu(A - delta))
    * ``sigmoid`` (debias): w = 1 - sigmoid(lam * (A - delta))
    * ``bandpass``: w = max(floor, sigmoid((A - m1) / gamma) * (1 - sigmoid((A - m2) / gamma)))

    Then, if ``normalize``, each row is scaled to mean 1 over its unmasked negatives; capped at ``max_weight``; w <- 1 + beta * (w - 1);
    known positives get 0. Source: CLIPSE (github.com/skcpda/CLIPSE), which published three formulas under this name. We deviate:
    the positive stays in the denominator, so the loss is bounded below by 0 and w = 1 is CLIP exactly; and both directions use
    the same W (A is symmetric), where CLIPSE takes the transpose of a row-normalised one.

    Args:
        alpha: share of TEXT similarity.
        beta: strength; 0 is CLIP.
        normalize: default on for bandpass and sigmoid, off for exp.
        max_weight: no weight above it (``None``: none).
    """

    def __init__(
        self,
        weighting: str = "exp",
        *,
        alpha: float = 0.5,
        delta: float = 0.6,
        lam: float = 4.0,
        m1: float = 0.3,
        m2: float = 0.8,
        gamma: float = 0.05,
        floor: float = 1e-3,
        beta: float = 1.0,
        normalize: bool | None = None,
        max_weight: float | None = None,
        local_loss: bool = True,
        gather_with_grad: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(world=World(rank, world_size, local_loss, gather_with_grad))
        if weighting not in WEIGHTINGS:
            raise ValueError(f"weighting must be one of {WEIGHTINGS}, not {weighting!r}")
        if not (0 <= alpha <= 1 and 0 <= beta <= 1 and lam >= 0 and m1 < m2 and gamma > 0 and 0 < floor <= 1):
            raise ValueError(
                f"impossible SANW values: alpha {alpha}, beta {beta} in [0, 1]; lam {lam} >= 0; m1 {m1} < m2 {m2}; gamma {gamma} > 0; floor {floor} in (0, 1]"
            )
        self.weighting, self.alpha, self.delta, self.lam = weighting, alpha, delta, lam
        self.m1, self.m2, self.gamma, self.floor = m1, m2, gamma, floor
        self.beta, self.max_weight = beta, max_weight
        self.normalize = weighting != "exp" if normalize is None else normalize
        self.statistics: dict[str, torch.Tensor] = {}

    def raw_weights(self, similarity: torch.Tensor) -> torch.Tensor:
        """The weighting function, elementwise."""
        if self.weighting == "exp":
            return torch.exp(-self.lam * torch.relu(similarity - self.delta))
        if self.weighting == "sigmoid":
            return torch.sigmoid(-self.lam * (similarity - self.delta))
        rise, fall = (similarity - self.m1) / self.gamma, (similarity - self.m2) / self.gamma
        return (torch.sigmoid(rise) * torch.sigmoid(-fall)).clamp(min=self.floor)

    def log_weights(self, image, text, all_image, all_text, positives, first):
        wide = torch.promote_types(image.dtype, torch.float32)
        similarity = self.alpha * (text @ all_text.T).to(wide) + (1 - self.alpha) * (image @ all_image.T).to(wide)
        weights = self.raw_weights(similarity)
        negatives = torch.ones_like(weights, dtype=torch.bool)
        own = torch.arange(len(weights), device=weights.device)
        negatives[own, own + first] = False
        self.statistics = weight_statistics(weights, negatives)
        if self.normalize:
            weights = _normalize_rows(weights, negatives if positives is None else negatives & ~positives)
        if self.max_weight is not None:
            weights = weights.clamp(max=self.max_weight)
        weights = 1 + self.beta * (weights - 1)
        weights[own, own + first] = 1
        return (weights if positives is None else weights.masked_fill(positives, 0)).log()


def _normalize_rows(weights: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Rows scaled so that the counted weights have mean 1; a row whose counted weights are all 0, or none, becomes 1."""
    mean = (weights * counted).sum(1, keepdim=True) / counted.sum(1, keepdim=True).clamp(min=1)
    return torch.where(mean > 0, weights / mean, torch.ones_like(weights))


def weight_statistics(weights: torch.Tensor, negatives: torch.Tensor) -> dict[str, torch.Tensor]:
    """CLIPSE's log columns, over the raw off-diagonal weights: mean, and shares in percent."""
    values = weights[negatives]
    return {
        "w_mean": values.mean(),
        "w_low_pct": 100 * (values <= LOW).to(values.dtype).mean(),
        "w_high_pct": 100 * (values > HIGH).to(values.dtype).mean(),
        "band_coverage_pct": 100 * (values > BAND).to(values.dtype).mean(),
    }
