"""The head of losses for labels: its labels, and the weights that it starts from."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import open_clip
import torch
from torch import nn

from hardpairs.core.errors import bad_input
from hardpairs.models.checkpoint import checkpoint_weights, is_weights
from hardpairs.models.head import EmbeddingHead, attach, head_state
from hardpairs.training.config import HeadOptions

if TYPE_CHECKING:
    from hardpairs.data.samples import Samples


def class_groups(samples: Samples) -> torch.Tensor:
    """Return the group ids of the labeled rows that can be used, (C,) int64, ascending.

    Raises:
        UserError: Exit 3 when there are fewer than two.
    """
    usable = samples.labelled.copy()
    usable[list(samples.rejected)] = False
    groups = np.unique(samples.groups[usable])
    if len(groups) < 2:
        raise bad_input(
            f"the data has {len(groups)} classes",
            where=samples.source,
            fix="name the column of labels; of a folder of images with captions: folder",
        )
    return torch.from_numpy(groups)


def embedding_width(options: HeadOptions, model_name: str) -> int:
    """Return the length of the embedding that the head of a model gives."""
    inside = feature_width(model_name) * (2 if options.embed == "mlp" else 1)
    return options.projection or inside


def feature_width(model_name: str) -> int:
    """Return the length of a model's image and text features."""
    config = open_clip.get_model_config(model_name)
    assert config is not None
    return int(config["embed_dim"])


def make_head(
    options: HeadOptions, model_name: str, group_ids: torch.Tensor | None = None
) -> EmbeddingHead:
    """Build the head that the options name, with new weights.

    Args:
        options: What the embedding is.
        model_name: The model that the features come from.
        group_ids: (C,) int64, the labels that get class weights; ``None``: no class weights.
    """
    head = EmbeddingHead(
        options.embed,
        feature_width(model_name),
        image_weight=options.im_wt,
        learned=options.learn_im_wt,
        layers=options.mlp_layers,
        dropout=options.head_dropout,
        projection=options.projection,
        classes=0 if group_ids is None else len(group_ids),
    )
    if group_ids is not None:
        torch.as_tensor(head.class_ids).copy_(group_ids)
    return head


def add_head(model: nn.Module, head: EmbeddingHead, pretrained: str | None) -> nn.Module:
    """Attach a head to a model.

    The head starts with the weights of a checkpoint that has such a head. A fixed weight of images
    is the head's own; class weights of other labels start anew.

    Args:
        model: The model, on its device.
        head: The head.
        pretrained: Checkpoint file that the run starts from, a tag, or ``None``.
    """
    if pretrained and is_weights(pretrained):
        _take_over(head, head_state(checkpoint_weights(pretrained)), pretrained)
    return attach(model, head.to(next(model.parameters()).device))


def _take_over(head: EmbeddingHead, stored: dict[str, torch.Tensor], source: str) -> None:
    """Load a checkpoint's layers if their shapes match, and class weights of the same labels."""
    own, layers = head.state_dict(), _layers(stored)
    shapes = {name: value.shape for name, value in layers.items()}
    if shapes != {name: value.shape for name, value in _layers(own).items()}:
        if stored:
            logging.warning(f"The head of {source} has other layers; this one starts anew.")
        return
    if "class_ids" in own and "class_ids" in stored:
        if torch.equal(own["class_ids"], stored["class_ids"]):
            layers |= {"class_weights": stored["class_weights"]}
        else:
            logging.warning(f"The class weights of {source} are of other classes.")
    head.load_state_dict({**own, **layers})


def _layers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a head's state without what is the run's own: a fixed image weight, and classes."""
    own = ("image_weight", "class_ids", "class_weights")
    return {name: value for name, value in state.items() if name not in own}
