"""What is trained and how fast: parts that stay as they are, for the whole run or its first epochs, and a learning rate of the head's own."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from hardpairs.core.errors import mismatch, usage
from hardpairs.models.checkpoint import HEAD

HEAD_PARTS = (
    f"{HEAD}.",
    *(
        "logit_scale",
        "logit_bias",
        "text_projection",
        "visual.proj",
        "visual.head.",
        "visual.attnpool.",
    ),
    *("text.text_projection", "text.proj.", "text.head."),
)
"""Where names of a head's parameters start: the head of metric learning, the temperature, and the projections from each tower into the shared
space in OpenCLIP's models and MiniCLIP's. Every other parameter is the backbone's."""


FROZEN_BY_DESIGN = "frozen_by_design"


def is_head(name: str) -> bool:
    """Whether a parameter belongs to the head, and not to the backbone."""
    return name.removeprefix("module.").startswith(HEAD_PARTS)


def check_freezing(args: argparse.Namespace) -> None:
    """Raises UserError (exit 2) for flags that have no effect or cannot work."""
    if args.lock_text:
        args.lock_text_freeze_layer_norm = (
            True  # OpenCLIP's own towers know no other way and die without it
        )
    if args.freeze_epochs is not None:
        if args.freeze_epochs < 1:
            raise usage(f"--freeze-epochs must be at least 1, not {args.freeze_epochs}")
        if not (args.freeze_backbone or args.lock_image or args.lock_text):
            raise usage(
                "--freeze-epochs says when what is frozen is trained, and nothing is",
                fix="--freeze-backbone, --lock-image or --lock-text",
            )
        for flag in ("ddp_static_graph", "horovod"):
            if getattr(args, flag):
                raise usage(
                    f"--{flag.replace('_', '-')} needs the same parameters in every step; --freeze-epochs changes them"
                )
    if args.head_lr is not None and not args.head_lr > 0:
        raise usage(f"--head-lr must be above 0, not {args.head_lr}")


@dataclass
class Thaw:
    """Names of the parameters that are trained from an epoch on, and that epoch."""

    names: frozenset[str]
    epoch: int


def freeze(model: nn.Module, args: argparse.Namespace) -> None:
    """Freezes what the options name (``--lock-image`` and ``--lock-text`` are done already), and checks that something is left to train.

    Parameters that thaw later are left trainable for now, since DistributedDataParallel and the optimizer must know them; ``thaw`` freezes them
    at the start of each epoch before theirs.
    """
    if args.freeze_backbone:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and is_head(name))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    scale_only = all(name.startswith(("logit_scale", "logit_bias")) for name in trained)
    if scale_only and args.freeze_epochs is None and args.train_data:
        raise usage(
            "everything is frozen: nothing is left to train",
            fix="leave a part free, or --projection WIDTH adds a layer to metric losses",
        )
    if args.freeze_backbone:
        keep_statistics(model)
    if args.freeze_epochs is None:
        return
    if scale_only:
        logging.warning(
            f"For {args.freeze_epochs} epochs nothing but the temperature is trained: there is no head with layers, and all else is frozen."
        )
    always = getattr(model, FROZEN_BY_DESIGN, frozenset())
    model.thaw = Thaw(_frozen(model) - always, args.freeze_epochs)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in always)


def note_design(model: nn.Module) -> None:
    """Remembers which parameters the architecture itself keeps frozen (MiniCLIP's first layers), before options freeze more: they never thaw."""
    setattr(model, FROZEN_BY_DESIGN, _frozen(model))


def _frozen(model: nn.Module) -> frozenset[str]:
    return frozenset(
        name for name, parameter in model.named_parameters() if not parameter.requires_grad
    )


def thaw(model: nn.Module, epoch: int) -> None:
    """Before an epoch (from 0): freezes the parameters whose time has not come, and frees them when it has."""
    model = getattr(model, "module", model)
    plan = getattr(model, "thaw", None)
    if plan is None:
        return
    frozen = epoch < plan.epoch
    for name, parameter in model.named_parameters():
        if name in plan.names:
            parameter.requires_grad_(not frozen)
    if epoch == plan.epoch:
        logging.info(
            f"From here on {len(plan.names)} more parameters are trained (--freeze-epochs {plan.epoch})."
        )
    keep_statistics(model)


def keep_statistics(model: nn.Module) -> None:
    """Batch norms whose own parameters are frozen use their running statistics and keep them: else a frozen tower's output would still move."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not hasattr(module, "keeps_statistics"):
            module.keeps_statistics = module.register_forward_pre_hook(_still_if_frozen)


def _still_if_frozen(module: _BatchNorm, _: Any) -> None:
    own = list(module.parameters(recurse=False))
    if own and not any(parameter.requires_grad for parameter in own):
        module.eval()


def head_groups(optimizer: Optimizer, model: nn.Module, args: argparse.Namespace) -> Optimizer:
    """The optimizer with the head's parameters in groups of their own, at ``--head-lr`` where ``--lr`` is the others'. OpenCLIP's schedule gives all
    groups one rate; during a step a head's group has its share of it."""
    heads = {id(parameter) for name, parameter in model.named_parameters() if is_head(name)}
    groups = []
    for group in optimizer.param_groups:
        own = [parameter for parameter in group["params"] if id(parameter) in heads]
        rest = [parameter for parameter in group["params"] if id(parameter) not in heads]
        groups += [{**group, "params": rest, "head": False}] * bool(rest)
        groups += [{**group, "params": own, "head": True}] * bool(own)
    optimizer.param_groups[:] = groups

    def scale(by: float) -> Callable[..., None]:
        def set_rates(optimizer: Optimizer, *_: Any) -> None:
            for group in optimizer.param_groups:
                group["lr"] *= by if group["head"] else 1

        return set_rates

    def check_groups(_: Optimizer, stored: dict[str, Any]) -> None:
        if len(stored["param_groups"]) != len(groups):
            raise mismatch(
                "the run that is resumed had no --head-lr",
                where=str(args.resume),
                fix="leave --head-lr out, or --pretrained instead of --resume",
            )

    optimizer.register_load_state_dict_pre_hook(check_groups)
    optimizer.register_step_pre_hook(scale(args.head_lr / args.lr))
    optimizer.register_step_post_hook(scale(args.lr / args.head_lr))
    return optimizer
