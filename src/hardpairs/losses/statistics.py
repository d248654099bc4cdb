"""Statistics of a batch's weights and logits, computed only when a step is logged."""

from __future__ import annotations

import torch

from hardpairs.losses.block_sums import blocks_of
from hardpairs.losses.guide import GuidedMask
from hardpairs.losses.negatives import Negatives, diagonal

LOW, HIGH, BAND = 1e-3, 0.8, 0.1
"""Bounds of the log columns w_low_pct, w_high_pct and band_coverage_pct."""
BINS = 20


@torch.no_grad()
def weight_statistics(
    negatives: Negatives, rows: int = 1024
) -> tuple[dict[str, float], torch.Tensor]:
    """Return statistics of the raw weights of this rank's negatives.

    Own pairs are left out, known positives are counted.

    Args:
        negatives: The last call's weights.
        rows: Rows that are worked on at once.

    Returns:
        w_mean; w_low_pct, w_high_pct and band_coverage_pct, the shares in percent at most 0.001,
        above 0.8 and above 0.1; w_sim_corr, Pearson's correlation of weight and similarity (0 when
        either is constant). And a histogram of the weights: (20,) counts of equal bins of [0, 1].
    """
    assert negatives.weights is not None
    sums = torch.zeros(6, dtype=torch.float64)
    shares, histogram, count = torch.zeros(3, dtype=torch.float64), torch.zeros(BINS), 0
    for block in blocks_of(len(negatives.row_source), rows):
        similarity = negatives.similarity(block)
        others = torch.ones_like(similarity, dtype=torch.bool)
        diagonal(others, negatives.first + block.start).fill_(False)
        a = similarity[others]
        w = negatives.weights.log_raw(a.clone()).exp()
        count += len(w)
        shares += torch.stack([(w <= LOW).sum(), (w > HIGH).sum(), (w > BAND).sum()]).double().cpu()
        histogram += torch.histc(w.float(), BINS, 0, 1).cpu()
        a, w = a.double(), w.double()
        sums += torch.stack(
            [w.sum(), a.sum(), (w * a).sum(), (w * w).sum(), (a * a).sum(), w.new_zeros(())]
        ).cpu()
    mean_w, mean_a, mean_wa, mean_ww, mean_aa, _ = (sums / count).tolist()
    spread = max(mean_ww - mean_w**2, 0) * max(mean_aa - mean_a**2, 0)
    low, high, band = (100 * shares / count).tolist()
    correlation = (mean_wa - mean_w * mean_a) / spread**0.5 if spread > 1e-20 else 0.0
    numbers = {
        "w_mean": mean_w,
        "w_low_pct": low,
        "w_high_pct": high,
        "band_coverage_pct": band,
        "w_sim_corr": correlation,
    }
    return numbers, histogram


@torch.no_grad()
def guided_share(guided: GuidedMask, count: int, rows: int = 1024) -> float:
    """Return the share of negatives that the guide takes, in percent, over both directions.

    Args:
        guided: The last call's mask.
        count: Number of this rank's rows.
        rows: Rows that are worked on at once.
    """
    dropped = negatives = 0
    for block in blocks_of(count, rows):
        dropped += sum(int(way.sum()) for way in guided.dropped_both_ways(block))
        negatives += int(guided.negatives(block).sum())
    return 100 * dropped / max(2 * negatives, 1)


@torch.no_grad()
def logit_statistics(
    image: torch.Tensor,
    all_text: torch.Tensor,
    scale: torch.Tensor,
    negatives: Negatives,
    rows: int = 1024,
) -> dict[str, float]:
    """Return statistics of this rank's image-to-text logits.

    Args:
        image: (b, D), this rank's rows.
        all_text: (B, D), all ranks' rows.
        scale: (), exponentiated logit scale.
        negatives: Weights and masks.
        rows: Rows that are worked on at once.

    Returns:
        pos_logit, the mean logit of own pairs; hard_logit, the mean over rows of the largest logit
        of a negative; masked_pct, the share of other pairs that are known positives, in percent.
    """
    positive = hardest = masked = 0.0
    for block in blocks_of(len(image), rows):
        logits = (image[block] @ all_text.T).float() * scale
        positive += diagonal(logits, negatives.first + block.start).sum().item()
        counted = negatives.counted(block, len(all_text))
        hardest += (
            logits.masked_fill(~counted.to(logits.device), -torch.inf)
            .amax(1)
            .clamp(min=torch.finfo(torch.float32).min)
            .sum()
            .item()
        )
        masked += counted.numel() - len(counted) - counted.sum().item()
    others = len(image) * (len(all_text) - 1)
    return {
        "pos_logit": positive / len(image),
        "hard_logit": hardest / len(image),
        "masked_pct": 100 * masked / max(others, 1),
    }
