"""The flags of metric learning, and what they become."""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import open_clip
import torch
from torch import nn

from hardpairs.core.errors import bad_input, usage
from hardpairs.losses.gather import World
from hardpairs.losses.metric import METRIC, MINED, MINERS, NEEDS, MetricLoss, Numbers, make_miner
from hardpairs.models.checkpoint import checkpoint_weights, is_weights
from hardpairs.models.head import KINDS, EmbeddingHead, attach, head_state

if TYPE_CHECKING:
    from hardpairs.data.samples import Samples


def add_metric(group: argparse._ArgumentGroup, add: Callable[..., None]) -> None:
    add(
        group,
        "--embed",
        choices=KINDS,
        help="what metric losses are about (default with them: image)",
    )
    add(group, "--im-wt", type=float, default=0.5, help="pooled: the image's weight")
    add(
        group,
        "--learn-im-wt",
        action="store_true",
        help="pooled: the weight is learned, from --im-wt on",
    )
    add(group, "--mlp-layers", type=int, default=2, help="mlp: its linear layers")
    add(
        group,
        "--projection",
        type=int,
        default=0,
        help="a last linear layer of so many numbers; 0: none",
    )
    add(
        group,
        "--head-dropout",
        type=float,
        default=0.1,
        help="between the MLP's layers, and before the projection",
    )
    add(
        group,
        "--miner",
        choices=MINERS,
        default="none",
        help="which triplets or pairs of a batch count",
    )
    add(group, "--metric-temperature", type=float, help="supcon: 0.1")
    add(
        group,
        "--metric-margin",
        type=float,
        help="triplet: 0.2; contrastive, of positives: 0; arcface, in radians: 0.5",
    )
    add(group, "--metric-negative-margin", type=float, help="contrastive, of negatives: 0.5")
    add(group, "--metric-scale", type=float, help="arcface: 64")


def check_metric(unset: argparse.Namespace, args: argparse.Namespace) -> None:
    """Raise UserError (exit 2) for flags that have no effect or make no sense together.

    Fills in ``--embed``. ``unset`` is what the flags are when none is given.
    """
    flags = (
        "embed",
        "im_wt",
        "learn_im_wt",
        "mlp_layers",
        "projection",
        "head_dropout",
        "miner",
        "metric_temperature",
        "metric_margin",
        "metric_negative_margin",
        "metric_scale",
    )
    given = [name for name in flags if getattr(args, name) != getattr(unset, name)]
    if args.loss_fn not in METRIC:
        if given:
            raise usage(
                f"--{given[0].replace('_', '-')} has no effect with --loss-fn {args.loss_fn}",
                fix=f"--loss-fn {' or '.join(METRIC)}",
            )
        return
    args.embed = args.embed or "image"
    for name in given:
        number = name.removeprefix("metric_")
        if number in NEEDS and args.loss_fn not in NEEDS[number]:
            raise usage(
                f"--{name.replace('_', '-')} has no effect with --loss-fn {args.loss_fn}",
                fix=f"it is for {', '.join(NEEDS[number])}",
            )
        if number in NEEDS and not (0 <= getattr(args, name) < math.inf):
            raise usage(
                f"--{name.replace('_', '-')} must be a number from 0, not {getattr(args, name)}"
            )
    for name in (
        "margin_weight",
        "geometry_weight",
        "loss_block_rows",
        "false_negative_embeddings",
    ):
        if getattr(args, name):
            raise usage(f"--{name.replace('_', '-')} has no effect with --loss-fn {args.loss_fn}")
    rules = {
        "--im-wt must lie in [0, 1]": 0 <= args.im_wt <= 1,
        "--im-wt and --learn-im-wt are for --embed pooled": args.embed == "pooled"
        or not {"im_wt", "learn_im_wt"} & set(given),
        "--mlp-layers is for --embed mlp": args.embed == "mlp" or "mlp_layers" not in given,
        "--mlp-layers must be at least 1": args.mlp_layers >= 1,
        "--projection must be at least 0": args.projection >= 0,
        "--head-dropout must lie in [0, 1)": 0 <= args.head_dropout < 1,
        "--head-dropout is for --embed mlp and --projection": args.embed == "mlp"
        or args.projection
        or "head_dropout" not in given,
        f"--miner is for --loss-fn {' and '.join(MINED)}": args.miner == "none"
        or args.loss_fn in MINED,
        "--metric-temperature must be above 0": args.metric_temperature is None
        or args.metric_temperature > 0,
        "--metric-scale must be above 0": args.metric_scale is None or args.metric_scale > 0,
    }
    for rule, holds in rules.items():
        if not holds:
            raise usage(rule)


def class_groups(samples: Samples) -> torch.Tensor:
    """(C,) ascending group ids of the labelled rows that can be used.

    Raises:
        UserError: exit 3 when there are fewer than two.
    """
    usable = samples.labelled.copy()
    usable[list(samples.rejected)] = False
    groups = np.unique(samples.groups[usable])
    if len(groups) < 2:
        raise bad_input(
            f"the data has {len(groups)} classes",
            where=samples.source,
            fix="--csv-label-key names the column of labels; of a folder of pictures with captions: folder",
        )
    return torch.from_numpy(groups)


def add_head(model: nn.Module, args: argparse.Namespace, samples: Samples) -> nn.Module:
    """The model with the head that the options name; its weights are those of ``--pretrained`` where that has such a head. A fixed ``--im-wt`` is
    this run's; class weights of other classes start anew."""
    head = make_head(args, samples)
    if is_weights(args.pretrained):
        _take_over(head, head_state(checkpoint_weights(args.pretrained)), args.pretrained)
    return attach(model, head.to(next(model.parameters()).device))


def _take_over(head: EmbeddingHead, stored: dict[str, torch.Tensor], source: str) -> None:
    """Loads a checkpoint's head: its layers where they have this one's shapes, and its class weights where they are of the same classes."""
    own = head.state_dict()
    layers = _layers(stored)
    if {name: value.shape for name, value in layers.items()} != {
        name: value.shape for name, value in _layers(own).items()
    }:
        if stored:
            logging.warning(f"The head of {source} is of another shape; this one starts anew.")
        return
    if "class_ids" in own and "class_ids" in stored:
        if torch.equal(own["class_ids"], stored["class_ids"]):
            layers |= {"class_weights": stored["class_weights"]}
        else:
            logging.warning(
                f"The class weights of {source} are of other classes; these start anew."
            )
    head.load_state_dict({**own, **layers})


def _layers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A head's state without what is this run's own: a fixed weight of images, and classes."""
    return {
        name: value
        for name, value in state.items()
        if name not in ("image_weight", "class_ids", "class_weights")
    }


def make_head(args: argparse.Namespace, samples: Samples) -> EmbeddingHead:
    """The head that the options name, with new weights."""
    classes = (
        class_groups(samples) if args.loss_fn == "arcface" else torch.zeros(0, dtype=torch.int64)
    )
    head = EmbeddingHead(
        args.embed,
        feature_width(args.model),
        image_weight=args.im_wt,
        learned=args.learn_im_wt,
        layers=args.mlp_layers,
        dropout=args.head_dropout,
        projection=args.projection,
        classes=len(classes),
    )
    if len(classes):
        head.class_ids.copy_(classes)
    return head


def feature_width(model_name: str) -> int:
    """Numbers of a model's image and text features."""
    return open_clip.get_model_config(model_name)["embed_dim"]


def build_metric_loss(args: argparse.Namespace, samples: Samples) -> MetricLoss:
    """The metric loss that the options name. Checks that there are labels at all."""
    groups = class_groups(samples)
    numbers = Numbers(
        args.metric_temperature, args.metric_margin, args.metric_negative_margin, args.metric_scale
    )
    width = args.projection or feature_width(args.model) * (2 if args.embed == "mlp" else 1)
    sizes: dict[str, Any] = {"classes": len(groups), "width": width}
    world = World(args.rank, args.world_size, args.local_loss, args.gather_with_grad)
    return MetricLoss(
        METRIC[args.loss_fn](numbers, **sizes),
        make_miner(args.miner, numbers.margin if args.loss_fn == "triplet" else None),
        classes=groups if args.loss_fn == "arcface" else None,
        world=world,
        accumulate=args.accum_freq,
    )
