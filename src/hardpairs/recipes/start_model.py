"""A start model for whole-model runs: towers, and the heads that were trained over their features.

Towers that were never trained together, such as those of ``lite0-minilm``, have projections that
say nothing. Runs that began with them would compare how fast projections are learned. So they begin
with the heads of the split's base, which never saw its validation and test rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from hardpairs.core.errors import usage
from hardpairs.data.embeddings import Embeddings
from hardpairs.models.checkpoint import PREPROCESS, checkpoint_vocabulary, is_weights
from hardpairs.models.encoders.openclip import PROJECTIONS, WITHOUT_PROJECTION
from hardpairs.models.load import load_encoder
from hardpairs.models.weight_files import save_checkpoint
from hardpairs.recipes.heads import Heads


def are_features_of(embeddings: Embeddings, weights: str) -> bool:
    """Return whether embeddings are the features of a model's own towers, before its projections.

    Args:
        embeddings: The embeddings.
        weights: Identity of the model's weights.
    """
    manifest = embeddings.manifest
    model = str(manifest.get("model", ""))
    return (
        model.endswith(WITHOUT_PROJECTION) and manifest.get("weights") == f"{weights} + {weights}"
    )


def write_start_model(path: Path, name: str, pretrained: str, heads: Heads) -> None:
    """Write the weights of a model whose projections are replaced by heads.

    Args:
        path: The checkpoint that is written.
        name: Name of the model.
        pretrained: Its weights.
        heads: Heads over the features of its towers.

    Raises:
        UserError: Exit 2 when a projection of the model is not one linear map of the heads' shape.
    """
    encoder = load_encoder(name, pretrained)
    put_heads(encoder.model, heads, name)
    vocabulary = checkpoint_vocabulary(pretrained) if is_weights(pretrained) else None
    content = {
        "state_dict": encoder.model.state_dict(),
        PREPROCESS: encoder.description[PREPROCESS],
        **({} if vocabulary is None else {"vocabulary": vocabulary}),
    }
    save_checkpoint(content, path)


@torch.no_grad()
def put_heads(model: Any, heads: Heads, name: str) -> None:
    """Put heads in place of a model's projections and logit scale.

    Args:
        model: An OpenCLIP model; changed in place.
        heads: Heads over the features of its towers.
        name: Name of the model, for the message.

    Raises:
        UserError: Exit 2 when a projection of the model is not one linear map of the heads' shape.
    """
    towers = (model.visual, getattr(model, "text", model))
    for tower, head in zip(towers, (heads.image, heads.text), strict=True):
        parts = (getattr(tower, part, None) for part in PROJECTIONS)
        projection = next((part for part in parts if part is not None), nn.Identity())
        if isinstance(projection, nn.Parameter):
            weights, weight = [projection], head.weight.T  # OpenCLIP computes x @ projection
        else:
            weights, weight = list(projection.parameters()), head.weight
        if [each.shape for each in weights] != [weight.shape]:
            raise usage(
                f"heads do not fit the projections of {name}",
                why=f"one map of shape {tuple(weight.shape)} cannot stand in for weights of shapes "
                f"{[tuple(each.shape) for each in weights]}",
                fix="`width` as the model's own, or embeddings with its projections",
            )
        weights[0].copy_(weight)
    model.logit_scale.copy_(heads.logit_scale)
