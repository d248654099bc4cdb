"""Losses by name, one file each, for image-text pairs and for labels.

``LOSSES`` lists them without importing PyTorch; the public classes are imported on first use. Start
reading in ``base.py`` (what a loss is), then ``pairs.py`` (CLIP's loss, with weighted or masked
negatives) or ``labels.py`` (losses that need labels). ``training_loss.py`` joins a loss with the
margin and geometry terms.
"""

from __future__ import annotations

from hardpairs.core.components import Registry, lazy_exports

LOSSES = Registry("loss", "hardpairs.losses", "hardpairs.losses")
"""The losses that ``--loss-fn`` chooses from."""

_PUBLIC = {
    "ContrastiveLoss": "pairs",
    "GeometryLoss": "geometry",
    "GlobalLoss": "global_contrastive",
    "HardNegativeMarginLoss": "margin",
    "LabelLoss": "labels",
    "Loss": "base",
    "LossContext": "base",
    "PairOptions": "pairs",
    "SANWLoss": "sanw",
    "SigmoidLoss": "siglip",
    "SimilarityWeights": "weights",
    "TrainingLoss": "training_loss",
    "World": "gather",
    "build_loss": "training_loss",
}
"""Public name: module that holds it."""

__all__ = ["LOSSES", *_PUBLIC]
__getattr__ = lazy_exports(__name__, _PUBLIC)
