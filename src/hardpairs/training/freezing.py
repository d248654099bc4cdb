"""Frozen parts of a model, for the whole run or its first epochs, and the head's learning rate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from timm.layers.norm_act import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from hardpairs.core.errors import mismatch, usage
from hardpairs.models.checkpoint import HEAD

HEAD_PARTS = (
    *(f"{HEAD}.", "logit_scale", "logit_bias", "text_projection", "visual.proj", "visual.head."),
    *("visual.attnpool.", "text.text_projection", "text.proj.", "text.head."),
)
"""Beginnings of the names of a head's parameters: the head of losses for labels, the temperature,
and the projections from each tower into the shared space in OpenCLIP's models and MiniCLIP's. Every
other parameter is the backbone's."""
FROZEN_BY_DESIGN = "frozen_by_design"
"""Attribute of a model: names of the parameters that its architecture keeps frozen."""


def is_head(name: str) -> bool:
    """Return whether a parameter belongs to the head, not to the backbone."""
    return name.removeprefix("module.").startswith(HEAD_PARTS)


@dataclass
class Thaw:
    """Parameters that are trained from an epoch on.

    Attributes:
        names: Their names.
        epoch: The first epoch that trains them.
    """

    names: frozenset[str]
    epoch: int


def refuse_lost_activations(model: nn.Module) -> None:
    """Make OpenCLIP's ``--lock-image-freeze-bn-stats`` an error where it would change the model.

    timm keeps activations inside some batch norms. OpenCLIP puts batch norms without any in their
    place, so that the model which is trained is another than the one which is saved.
    """
    tower = getattr(model, "visual", None)
    if not any(isinstance(module, BatchNormAct2d) for module in model.modules()):
        return
    lock = getattr(tower, "lock", None)

    def checked(unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        if freeze_bn_stats:
            raise usage(
                "`lock_image_freeze_bn_stats` would leave out this tower's activations",
                why="timm keeps them inside batch norms, which OpenCLIP replaces",
                fix="`freeze_bn_stats`, which keeps them",
            )
        if lock is not None:
            lock(unlocked_groups=unlocked_groups, freeze_bn_stats=False)

    if tower is not None:
        tower.lock = checked


def freeze(
    model: nn.Module, *, backbone: bool, epochs: int | None, needs_training: bool = True
) -> None:
    """Freeze the backbone, plan the thaw, and check that something is left to train.

    Parameters that thaw later are left trainable for now, because DistributedDataParallel and the
    optimizer must know them; ``thaw`` freezes them at the start of each epoch before theirs.

    Args:
        model: The model; OpenCLIP has locked its towers already.
        backbone: Whether to freeze everything but the head.
        epochs: Epochs for which frozen parts stay frozen; ``None``: the whole run.
        needs_training: Whether it is an error that nothing is left to train.

    Raises:
        UserError: Exit 2 when nothing is left to train.
    """
    if backbone:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and is_head(name))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    scale_only = all(name.startswith(("logit_scale", "logit_bias")) for name in trained)
    if scale_only and epochs is None and needs_training:
        raise usage(
            "everything is frozen: nothing is left to train",
            fix="leave a part free; `projection` adds a layer to losses for labels",
        )
    if backbone:
        keep_statistics(model)
    if epochs is None:
        return
    if scale_only:
        logging.warning(
            f"For {epochs} epochs nothing but the temperature is trained: "
            "there is no head with layers, and all else is frozen."
        )
    always: frozenset[str] = getattr(model, FROZEN_BY_DESIGN, frozenset())
    model.thaw = Thaw(_frozen(model) - always, epochs)  # type: ignore[assignment]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in always)


def note_design(model: nn.Module) -> None:
    """Remember which parameters the architecture itself keeps frozen: they never thaw."""
    setattr(model, FROZEN_BY_DESIGN, _frozen(model))


def _frozen(model: nn.Module) -> frozenset[str]:
    return frozenset(
        name for name, parameter in model.named_parameters() if not parameter.requires_grad
    )


def thaw(model: nn.Module, epoch: int) -> bool:
    """Freeze or free the parameters that thaw, before an epoch (from 0).

    Returns:
        Whether the epoch is the first one that trains them.
    """
    model = getattr(model, "module", model)
    plan = getattr(model, "thaw", None)
    if plan is None:
        return False
    frozen = epoch < plan.epoch
    for name, parameter in model.named_parameters():
        if name in plan.names:
            parameter.requires_grad_(not frozen)
    if epoch == plan.epoch:
        logging.info(f"From epoch {plan.epoch} on, {len(plan.names)} more parameters are trained.")
    keep_statistics(model)
    return bool(epoch == plan.epoch)


def keep_statistics(model: nn.Module) -> None:
    """Make frozen batch norms keep their running statistics: a frozen tower must not move."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not hasattr(module, "keeps_statistics"):
            handle: Any = module.register_forward_pre_hook(_still_if_frozen)
            module.keeps_statistics = handle


def _still_if_frozen(module: nn.Module, _: Any) -> None:
    if _is_frozen(module):
        module.eval()


def _is_frozen(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(parameter.requires_grad for parameter in own)


def has_moving_statistics(model: nn.Module) -> bool:
    """Return whether training moves the statistics of a batch norm."""
    was_training = model.training
    model.train()  # a model may keep batch norms of its own out of it
    moving = any(
        isinstance(module, _BatchNorm)
        and module.training
        and not (hasattr(module, "keeps_statistics") and _is_frozen(module))
        for module in model.modules()
    )
    model.train(was_training)
    return moving


def head_groups(
    optimizer: Optimizer, model: nn.Module, *, rate: float, head_rate: float
) -> Optimizer:
    """Put the head's parameters into groups of their own, with their own learning rate.

    OpenCLIP's schedule sets one rate for all groups; during a step the head's groups have their
    share of it.

    Args:
        optimizer: The optimizer.
        model: The model whose parameters it has.
        rate: Learning rate of the others.
        head_rate: Learning rate of the head.

    Returns:
        The same optimizer.
    """
    heads = {id(parameter) for name, parameter in model.named_parameters() if is_head(name)}
    groups: list[dict[str, Any]] = []
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
                "the resumed run had no `head_lr`",
                fix="leave `head_lr` out, or start from its weights instead of resuming it",
            )

    optimizer.register_load_state_dict_pre_hook(check_groups)
    optimizer.register_step_pre_hook(scale(head_rate / rate))
    optimizer.register_step_post_hook(scale(rate / head_rate))
    return optimizer
