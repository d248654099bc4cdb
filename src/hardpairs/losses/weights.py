"""Weights of negatives by similarity (SANW), as functions of a block of similarities."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

WEIGHTINGS = ("exp", "sigmoid", "bandpass")


@dataclass(frozen=True)
class SimilarityWeights:
    r"""Weights of negative pairs by their similarity :math:`A`.

    * ``exp`` (debias): w = exp(-lam * relu(A - delta))
    * ``sigmoid`` (debias): w = 1 - sigmoid(lam * (A - delta))
    * ``bandpass``: w = max(floor, sigmoid((A - m1) / gamma) * (1 - sigmoid((A - m2) / gamma)))

    Then, with ``normalize``, each row is scaled to mean 1 over its unmasked negatives; weights are
    capped at ``max_weight``; and w becomes 1 + beta * (w - 1).

    Attributes:
        weighting: ``exp``, ``sigmoid`` or ``bandpass``.
        alpha: Share of TEXT similarity in A.
        delta: Debias: similarity from which a negative loses weight.
        lam: Debias: how fast it loses weight.
        m1: Bandpass: lower edge.
        m2: Bandpass: upper edge.
        gamma: Bandpass: softness of the edges.
        floor: Bandpass: smallest weight.
        beta: Strength; 0 is CLIP.
        normalize: ``None`` stands for the default: on for bandpass and sigmoid, off for exp.
        max_weight: Largest weight; ``None``: no limit.
        warmup_epochs: Epochs over which the strength grows from 0 to ``beta``.

    Raises:
        ValueError: For values outside their ranges.
    """

    weighting: str = "exp"
    alpha: float = 0.5
    delta: float = 0.6
    lam: float = 4.0
    m1: float = 0.3
    m2: float = 0.8
    gamma: float = 0.05
    floor: float = 1e-3
    beta: float = 1.0
    normalize: bool | None = None
    max_weight: float | None = None
    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"weighting must be one of {WEIGHTINGS}, not {self.weighting!r}")
        shares = 0 <= self.alpha <= 1 and 0 <= self.beta <= 1 and 0 < self.floor <= 1
        if not (
            shares
            and self.lam >= 0
            and self.m1 < self.m2
            and self.gamma > 0
            and math.isfinite(self.delta)
        ):
            raise ValueError(
                f"SANW values out of range: alpha {self.alpha} and beta {self.beta} in [0, 1], "
                f"lam {self.lam} >= 0, m1 {self.m1} < m2 {self.m2}, gamma {self.gamma} > 0, "
                f"floor {self.floor} in (0, 1]"
            )
        if self.max_weight is not None and not self.max_weight > 0:
            raise ValueError(f"max_weight must be positive, not {self.max_weight}")
        if self.normalize is None:
            object.__setattr__(self, "normalize", self.weighting != "exp")

    def at(self, epochs_done: float) -> SimilarityWeights:
        """Return the weights with the strength that they have after some epochs of the run."""
        if epochs_done >= self.warmup_epochs:
            return self
        return replace(self, beta=epochs_done / self.warmup_epochs * self.beta, warmup_epochs=0.0)

    def log_raw(self, similarity: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the weighting function, elementwise.

        ``similarity`` is overwritten.
        """
        if self.weighting == "exp":
            return similarity.sub_(self.delta).clamp_(min=0).mul_(-self.lam)
        if self.weighting == "sigmoid":
            return F.logsigmoid(similarity.sub_(self.delta).mul_(-self.lam))
        # 1 / w = (1 + e^-rise) (1 + e^fall), multiplied out: one logarithm instead of two.
        below = torch.add(self.m1 / self.gamma, similarity, alpha=-1 / self.gamma).exp_()
        above = similarity.sub_(self.m2).mul_(1 / self.gamma).exp_()
        both = math.exp((self.m1 - self.m2) / self.gamma)
        return below.add_(above).add_(1 + both).log_().neg_().clamp_(min=math.log(self.floor))

    def log_effective(self, log_raw: torch.Tensor, log_scale: torch.Tensor | None) -> torch.Tensor:
        """Return the logarithm of the weight that the loss uses: scaled, capped, blended with 1.

        Args:
            log_raw: (b, B), as ``log_raw`` returns it.
            log_scale: Minus the log of the mean raw weight of the row that a pair counts in,
                broadcastable to (b, B); ``None``: unscaled.
        """
        logs = log_raw if log_scale is None else log_raw + log_scale
        # A raw weight is at most 1.
        if self.max_weight is not None and (log_scale is not None or self.max_weight < 1):
            logs = logs.clamp(max=math.log(self.max_weight))
        if self.beta == 1:
            return logs
        return logs.expm1().mul_(self.beta).log1p_()
