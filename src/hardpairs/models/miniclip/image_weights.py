"""ImageNet weights for the ResNet18 tower: from torchvision's cache, or from a file.

Random weights must be asked for by name: a run without weights does not start.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn

from hardpairs.core.errors import bad_input, mismatch, usage

TORCHVISION, RANDOM = "torchvision", "none"
"""Choices that are not files."""
RESNET18 = torchvision.models.ResNet18_Weights.IMAGENET1K_V1


def find_image_weights(tower: str, choice: str | None) -> Path | None:
    """Return the file that a new image tower starts from; ``None`` means random weights.

    Args:
        tower: ``resnet18``, or ``cnn``, which accepts random weights only.
        choice: A file (torchvision's or timm's ``resnet18``, also as ``.safetensors``);
            ``torchvision`` for its cache, filled if need be; ``none`` for random weights; ``None``
            for torchvision's cache as it is.

    Raises:
        UserError: exit 2 for weights that the tower cannot take, exit 3 when there are none.
    """
    if tower == "cnn":
        if choice not in (None, RANDOM):
            raise usage(
                f"this image tower is a CNN and cannot take `image_weights` {choice}",
                fix="leave it out, or a model with ResNet18",
            )
        return None
    if choice == RANDOM:
        return None
    path = _fetched() if choice == TORCHVISION else Path(choice) if choice else _cached()
    if not path.is_file():
        raise usage(
            "`image_weights` is not a file",
            where=str(path),
            fix=f"check the path, or `image_weights` {TORCHVISION}",
        )
    return path


def load_image_weights(
    visual: nn.Module, path: Path, read: Callable[[str], dict[str, torch.Tensor]]
) -> None:
    """Load the weights of a file into an image tower of ours.

    Args:
        visual: The tower.
        path: The file.
        read: Returns the verified weights of a file, without running its code.

    Raises:
        UserError: exit 4 for a torn file and for weights of another network.
    """
    state = read(str(path))
    # fc: the classifier of ImageNet's 1,000 classes.
    state = {name: value for name, value in state.items() if not name.startswith("fc.")}
    backbone = visual.backbone
    assert isinstance(backbone, nn.Module)
    try:
        backbone.load_state_dict(state)
    except (RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise mismatch(
            f"not weights of ResNet18: {reason}",
            where=str(path),
            fix="torchvision's or timm's resnet18",
        ) from None


def _cache_file() -> Path:
    """Return where torchvision keeps the file."""
    return Path(str(torch.hub.get_dir()), "checkpoints", RESNET18.url.rpartition("/")[2])


def _cached() -> Path:
    path = _cache_file()
    if not path.is_file():
        raise bad_input(
            "there are no ImageNet weights for ResNet18 on this machine",
            where=str(path),
            why="most of its layers are frozen; random ones would never see anything",
            fix=f"`image_weights` {TORCHVISION} fetches them; "
            "`image_weights` FILE takes torchvision's or timm's resnet18; "
            "a model whose name ends in -cnn needs none; "
            f"`image_weights` {RANDOM} tries things out with random ones",
        )
    return path


def _fetched() -> Path:
    """Return torchvision's file, fetched if need be and checked by the hash in its name."""
    path = _cache_file()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(
                RESNET18.url, str(path), path.stem.rpartition("-")[2], progress=False
            )
        except (OSError, RuntimeError) as error:
            raise bad_input(
                f"the weights cannot be fetched: {str(error).splitlines()[0]}",
                where=RESNET18.url,
                fix="fetch the file elsewhere and give it: `image_weights` FILE",
            ) from None
    return path
