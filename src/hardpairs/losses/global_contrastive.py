"""``global``: the contrastive loss over all of the data, by a running normalizer of each row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from hardpairs.batches.info import HARD_PAIR, BatchInfo
from hardpairs.core.components import option, register
from hardpairs.core.errors import mismatch
from hardpairs.losses.base import LossContext, Pairs
from hardpairs.losses.block_sums import blocks_of
from hardpairs.losses.log_sums import log_sums
from hardpairs.losses.negatives import Negatives
from hardpairs.losses.pairs import ContrastiveLoss, PairOptions, pair_loss


class Visit(NamedTuple):
    """New normalizers of a step's rows.

    Attributes:
        rows: (b,) int64, this rank's row numbers.
        log_normalizers: (2, b), of images and of texts.
        gamma: Weight that the batch had in them.
    """

    rows: torch.Tensor
    log_normalizers: torch.Tensor
    gamma: float


@register("global")
class GlobalLoss(ContrastiveLoss):
    r"""The contrastive loss of each pair against all of the data (SogCLR, FastCLIP).

    With :math:`z` the logit scale and :math:`h_{ij} = z (s_{ij} - s_{ii})`, image i has
    :math:`g_i`, the mean of :math:`e^{h_{ij}}` over its negatives in the batch, and a normalizer
    :math:`u_i`, the running mean of :math:`g_i` over steps: :math:`u_i \leftarrow (1 - c) u_i +
    c g_i`, and :math:`g_i` at the first visit. The loss is the mean of :math:`g_i / (u_i + eps)`,
    with no gradient in :math:`u_i`, over images and texts: its gradient is that of
    :math:`\log (u_i + eps)`, as if each batch held all of the data.

    Sources: Yuan et al., arXiv 2202.12387 (SogCLR); Wei et al., arXiv 2407.01445 (FastCLIP v3);
    with a reference Wei et al., arXiv 2505.06699 (DRRho-CLIP).

    * A normalizer stands for rows drawn at random. Hard pairs in a batch, and a hard pair's own
      target, do not count in the :math:`g_i` that is stored. The loss of this step divides by
      :math:`(1 - c) u_i + c g_i` with all of them, so that no quotient exceeds 1 / c.
    * All is computed with logarithms: :math:`e^{h_{ij}}` overflows where a negative is far above
      the own pair.
    * A learned temperature follows from :math:`(\rho + \mathrm{mean} \log (u_i + eps)) / z`, times
      the present z, so that the features' gradients have the size of CLIP's loss.
    * A reference subtracts its own :math:`z (t_{ij} - t_{ii})` from :math:`h_{ij}`.

    Args:
        num_rows: Number of rows of the data.
        gamma: Last value of c, which falls from 1 by a cosine.
        gamma_epochs: Epochs in which it falls.
        eps: Added to the normalizers.
        rho: For a learned temperature; ``None``: the temperature gets no gradient.
        **options: As for ``ContrastiveLoss``.

    Raises:
        ValueError: On several ranks without both flags of ``World``, or in a ring.
    """

    @dataclass(frozen=True)
    class Config(PairOptions):
        """Options of the global contrastive loss."""

        global_gamma: float = option(
            0.2,
            "last share in normalizers",
            above=0,
            maximum=1,
        )
        global_eps: float | None = option(
            None, "added to the normalizers (default: 1e-14, with a reference 1e-4)", above=0
        )
        global_rho: float | None = option(
            None,
            "learn the temperature: nats from uniform weights of a row (default: do not)",
            above=0,
        )
        global_reference: str | None = option(
            None,
            "a reference model's embeddings: negatives count by their gain over it",
            metavar="FOLDER",
        )

        def __post_init__(self) -> None:
            super().__post_init__()
            others = ("guided_mask", "hardness_weight", "blend_targets", "loss_ring")
            for name in ("memory_batches", "memory_every", "multi_positive", *others):
                if getattr(self, name):
                    raise ValueError(f"the global loss does not work with `{name}`")

    def __init__(
        self,
        num_rows: int,
        *,
        gamma: float = 0.2,
        gamma_epochs: float = 0.0,
        eps: float = 1e-14,
        rho: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not self.world.is_joined or self.world.ring:
            raise ValueError("the global loss needs `local_loss` and `gather_with_grad`, no `ring`")
        self.gamma, self.gamma_epochs, self.rho = gamma, gamma_epochs, rho
        self.log_eps = math.log(eps)
        # (2, N), of images and of texts, on the CPU; -inf: not visited yet.
        self.log_normalizers = torch.full((2, num_rows), -torch.inf)
        self.visit: Visit | None = None

    @classmethod
    def from_config(cls, config: Config, context: LossContext) -> ContrastiveLoss:  # type: ignore[override]
        """Build the loss for the run's rows and epochs."""
        eps = config.global_eps
        return pair_loss(
            config,
            context,
            cls,
            num_rows=context.num_rows,
            gamma=config.global_gamma,
            gamma_epochs=context.epochs / 2,
            eps=(1e-4 if config.global_reference else 1e-14) if eps is None else eps,
            rho=config.global_rho,
        )

    def gamma_at(self, epochs_done: float) -> float:
        """Return c, the batch's share in the normalizers, after some epochs of the run."""
        if epochs_done >= self.gamma_epochs:
            return self.gamma
        fall = (1 + math.cos(math.pi * epochs_done / self.gamma_epochs)) / 2
        return self.gamma + (1 - self.gamma) * fall

    def fields(self, info: BatchInfo) -> list[str]:
        """Return what the normalizers need of all ranks' rows, too."""
        roles = [] if info.roles is None or info.targets is None else ["roles", "targets"]
        return [*super().fields(info), *roles]

    def contrast(self, pairs: Pairs, negatives: Negatives, info: BatchInfo) -> torch.Tensor:
        """Return the loss; note the new normalizers.

        Raises:
            ValueError: Without row numbers, or with one beyond the data.
        """
        rows = self._rows(info)
        scale = pairs.scale if self.rho is not None else pairs.scale.detach() + 0 * pairs.scale
        pairs = with_reference(pairs._replace(scale=scale), info)
        log_means = self._log_means(pairs, negatives)
        with torch.no_grad():
            known = self.log_normalizers[:, rows.cpu()].to(log_means)
            gamma, by_chance = self.gamma_at(info.epochs_done), log_means.detach()
            log_total = blended(known, by_chance, gamma)
            log_total = log_total.logaddexp(log_total.new_tensor(self.log_eps))
            if is_mined(negatives.columns):
                by_chance = self._log_means(pairs, NegativesByChance.of(negatives))
            self.visit = Visit(rows, blended(known, by_chance, gamma), gamma)
        loss = (log_means - log_total).exp().mean()
        if self.rho is not None:
            loss = loss + scale.detach() / scale * (self.rho + log_total.mean())
        return loss

    def _rows(self, info: BatchInfo) -> torch.Tensor:
        if info.rows is None:
            raise ValueError("the global loss needs the row numbers of each batch, `info.rows`")
        rows, count = torch.as_tensor(info.rows), self.log_normalizers.shape[1]
        if int(rows.max()) >= count:
            raise ValueError(f"row {int(rows.max())} is beyond the {count} rows of the global loss")
        return rows

    def _log_means(self, pairs: Pairs, negatives: Negatives) -> torch.Tensor:
        """Return (2, b) log g of images and of texts; -inf where a row has no negative."""
        sums = log_sums(
            *pairs[:3], negatives, self.world, block_rows=self.block_rows, with_own=False
        )
        blocks = blocks_of(len(pairs.image), self.block_rows, pairs.image.device)
        width = len(pairs.image) * self.world.world_size
        counts = torch.cat([negatives.counted(block, width).sum(1) for block in blocks])
        counts = counts.to(sums.own)
        means = torch.stack([sums.image, sums.text]) - sums.own - counts.clamp(min=1).log()
        return means.masked_fill(counts == 0, -torch.inf)

    def end_step(self) -> None:
        """Store the last call's normalizers of all ranks' rows."""
        if self.visit is None:
            return
        rows = self.world.gather(self.visit.rows).cpu()
        values = self.world.gather(self.visit.log_normalizers.T.contiguous())
        self.log_normalizers[:, rows] = values.T.to(self.log_normalizers)

    def state(self) -> dict[str, Any]:
        """Return the normalizers."""
        return {"log_normalizers": self.log_normalizers.clone()}

    def load_state(self, state: dict[str, Any], device: torch.device | str) -> None:
        """Take over normalizers.

        Raises:
            UserError: Exit 4 when they are of another number of rows.
        """
        stored = state.get("log_normalizers")
        if stored is None:
            return
        if stored.shape != self.log_normalizers.shape:
            raise mismatch(
                f"the checkpoint has normalizers of {stored.shape[1]} rows, and the data has "
                f"{self.log_normalizers.shape[1]}",
                fix="the data that the run began with, or a new run from its weights",
            )
        self.log_normalizers = stored.clone()

    def statistics(self) -> tuple[dict[str, float], torch.Tensor | None]:
        """Return the share of the batch in the normalizers, and the mean of their logarithms."""
        numbers, histogram = super().statistics()
        if self.visit is not None:
            logs = self.visit.log_normalizers
            mean = logs[logs.isfinite()].mean().item()
            numbers |= {"global_gamma": self.visit.gamma, "global_log_normalizer": mean}
        return numbers, histogram


class NegativesByChance(Negatives):
    """Negatives that a mined batch holds by chance: neither hard pairs nor a row's own target."""

    @classmethod
    def of(cls, negatives: Negatives) -> NegativesByChance:
        """Return those among some negatives."""
        rows, columns = negatives.rows, negatives.columns
        threshold = negatives.duplicate_threshold
        return cls(rows, columns, None, negatives.first, duplicate_threshold=threshold)

    def known_positives(self, block: slice) -> torch.Tensor:
        """Return (block, B) bool: for each row the columns that are not there by chance."""
        return self._with_known(self.columns.roles[None, :] == HARD_PAIR, block)

    def log_weights_both_ways(self, block: slice, ways: int = 2) -> list[torch.Tensor | None]:
        """Return the log-weights for rows and, because hard pairs are left out, others for columns.

        Args:
            block: The rows.
            ways: 1: for rows alone.
        """
        masks = [self.known_positives(block)]
        masks += [self._with_known(self.rows.roles[block, None] == HARD_PAIR, block)] * (ways - 1)
        return [
            torch.zeros(mask.shape, device=mask.device).masked_fill_(mask, -torch.inf)
            for mask in masks
        ]

    def _with_known(self, mined: torch.Tensor, block: slice) -> torch.Tensor:
        known = super().known_positives(block)
        own_target: torch.Tensor = self.rows.targets[block, None] == self.columns.targets[None, :]
        mask = mined | own_target
        mask = mask if known is None else mask | known
        self.own(mask, block).fill_(False)
        return mask


def is_mined(columns: BatchInfo) -> bool:
    """Return whether a global batch holds hard pairs."""
    return columns.roles is not None and bool((columns.roles == HARD_PAIR).any())


def blended(known: torch.Tensor, new: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return the logarithm of (1 - gamma) e^known + gamma e^new, elementwise.

    Where one of them is -inf (a first visit, a row without negatives), it is the other.
    """
    if gamma == 1:
        return torch.where(new == -torch.inf, known, new)
    both = (known + math.log1p(-gamma)).logaddexp(new + math.log(gamma))
    only = torch.where(known == -torch.inf, new, known)
    return torch.where((known == -torch.inf) | (new == -torch.inf), only, both)


def with_reference(pairs: Pairs, info: BatchInfo) -> Pairs:
    """Return pairs whose products are the model's cosines minus those of the reference."""
    if info.reference_features is None:
        return pairs
    image, text = (torch.as_tensor(side).to(pairs.image) for side in info.reference_features)
    return pairs._replace(
        image=torch.cat([pairs.image, image], dim=1), text=torch.cat([pairs.text, -text], dim=1)
    )
