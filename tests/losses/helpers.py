"""Features and a naive loss that the tests of losses share."""

import math

import torch
import torch.nn.functional as F

from hardpairs.batches import BatchInfo
from hardpairs.losses import LOSSES, LossContext

SCALE = torch.tensor(20.0, dtype=torch.float64)


def features(count=12, width=6, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        F.normalize(torch.randn(count, width, generator=generator, dtype=torch.float64), dim=1).to(
            dtype
        )
        for _ in range(2)
    )


def naive(x, y, scale, weight, positives=None):
    """(mean over rows and both directions) of -log(e^l_ii / sum_j w_ij e^l_ij), w_ii = 1."""
    total, count = 0.0, len(x)
    for queries, gallery in ((x, y), (y, x)):
        for i in range(count):
            denominator = 0.0
            for j in range(count):
                w = 1.0 if i == j else weight(float(x[i] @ x[j]), float(y[i] @ y[j]))
                if positives is not None and i != j and bool((positives[i] == positives[j]).any()):
                    w = 0.0
                denominator += w * math.exp(float(scale * (queries[i] @ gallery[j])))
            total -= float(scale * (queries[i] @ gallery[i])) - math.log(denominator)
    return total / (2 * count)


def naive_soft(x, y, scale, info, *, multi_positive=False, blend=None, guide=None, hardness=0.0):
    """Cross entropy with soft targets, a guide's mask and hard negatives, pair by pair, with autograd's gradients."""
    count, total, ids = len(x), 0.0, info.group_ids
    for side in (0, 1):
        queries, gallery = ((x, y), (y, x))[side]
        for i in range(count):
            known = (
                []
                if ids is None
                else [j for j in range(count) if j != i and (ids[i] == ids[j]).any()]
            )
            negatives = [j for j in range(count) if j != i and j not in known]
            masked = [] if multi_positive else list(known)
            if guide is not None:
                t = _similarities(info.guide_features, side, i)
                better = [
                    j for j in negatives if i in t and j in t and t[j] > t[i] - guide.margin + 1e-6
                ]
                better = sorted(better, key=lambda j: -t[j])
                masked += better[: int(guide.max_share * len(negatives) + 1e-4)]
            logits = {j: scale * (queries[i] @ gallery[j]) for j in range(count)}
            summed = [
                logits[j] + (hardness * (queries[i] @ gallery[j]).detach() if j in negatives else 0)
                for j in range(count)
                if j not in masked
            ]
            positives = [i, *(known if multi_positive else [])]
            target = {j: 1 / len(positives) for j in positives}
            if blend is not None:
                start = _similarities(info.start_features, side, i)
                weights = {
                    j: math.exp(blend.scale * t) for j, t in start.items() if j not in masked
                }
                weights = weights if i in start else {i: 1.0}
                for j in range(count):
                    part = weights.get(j, 0) / sum(weights.values())
                    target[j] = (1 - blend.share) * target.get(j, 0) + blend.share * part
            total = (
                total
                + torch.stack(summed).logsumexp(0)
                - sum(q * logits[j] for j, q in target.items())
            )
    return total / (2 * count)


def _similarities(stored, side, i):
    """{j: similarity of row i with row j of the other modality}, of rows that are stored."""
    mine, theirs = stored[side], stored[1 - side]
    if not mine[i].any():
        return {}
    return {j: float(mine[i] @ theirs[j]) for j in range(len(theirs)) if theirs[j].any()}


WEIGHTS = {
    "exp": lambda a: math.exp(-4 * max(a - 0.1, 0)),
    "sigmoid": lambda a: 1 - 1 / (1 + math.exp(-4 * (a - 0.1))),
    "bandpass": lambda a: max(
        1e-3, 1 / (1 + math.exp(-(a + 0.3) / 0.05)) * (1 - 1 / (1 + math.exp(-(a - 0.5) / 0.05)))
    ),
}


def weights_of(loss, x, y, **info):
    """(B, B) effective weights of image-to-text rows and, at the same places, of text-to-image rows."""
    return tuple(
        logs.exp()
        for logs in loss.negatives(x, y, BatchInfo(**info)).log_weights_both_ways(slice(0, len(x)))
    )


def library_loss(name, context=None, **options):
    """Return the loss of embeddings and labels that a component wraps."""
    component = LOSSES.load(name)
    return component.from_config(component.Config(**options), context or LossContext()).loss


def cross_entropy_both_ways(logits_per_image, logits_per_text, log_weights, first):
    """Mean of image-to-text and text-to-image cross entropy of (b, B) logits; row 0's own pair has column ``first``."""
    labels = torch.arange(len(logits_per_image)) + first
    if log_weights is not None:
        logits_per_image = logits_per_image + log_weights
        logits_per_text = logits_per_text + log_weights
    to_text = F.cross_entropy(logits_per_image, labels)
    return (to_text + F.cross_entropy(logits_per_text, labels)) / 2
