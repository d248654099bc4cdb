"""ImageNet weights for the ResNet18 tower: from torchvision's cache, from a file, or random ones where they are asked for by name.

MiniCLIP takes another image tower when it finds no weights, and says so in one line of its log; here a run without them does not start.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn

from hardpairs.core.errors import bad_input, mismatch, usage

TORCHVISION, RANDOM = "torchvision", "none"
"""Words that ``--image-weights`` knows; anything else is a file."""
RESNET18 = torchvision.models.ResNet18_Weights.IMAGENET1K_V1


def find_image_weights(tower: str, choice: str | None) -> Path | None:
    """The file that a fresh image tower starts from; ``None``: random weights.

    Args:
        tower: ``resnet18`` or ``cnn``, which has random weights and takes no others.
        choice: a file (torchvision's or timm's ``resnet18``; ``.safetensors`` too), ``torchvision``: its cache, filled if need be,
            ``none``: random weights, or ``None``: torchvision's cache as it is.

    Raises:
        UserError: exit 2 for weights that the tower cannot take, exit 3 when there are none.
    """
    if tower == "cnn":
        if choice not in (None, RANDOM):
            raise usage(
                f"this image tower is a CNN and cannot take --image-weights {choice}",
                fix="leave it out, or a model with ResNet18",
            )
        return None
    if choice == RANDOM:
        return None
    path = _fetched() if choice == TORCHVISION else Path(choice) if choice else _cached()
    if not path.is_file():
        raise usage(
            "--image-weights is no file",
            where=str(path),
            fix=f"check the path, or --image-weights {TORCHVISION}",
        )
    return path


def load_image_weights(
    visual: nn.Module, path: Path, read: Callable[[str], dict[str, torch.Tensor]]
) -> None:
    """Gives an image tower of ours the weights of a file; ``read`` opens it by its path and runs no code of it.

    Raises:
        UserError: exit 4 for a torn file and for weights of another network.
    """
    state = _read_safetensors(path) if path.suffix == ".safetensors" else read(str(path))
    state = {
        name: value for name, value in state.items() if not name.startswith("fc.")
    }  # ImageNet's 1,000 classes
    try:
        visual.backbone.load_state_dict(state)
    except (RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise mismatch(
            f"not weights of ResNet18: {reason}",
            where=str(path),
            fix="torchvision's or timm's resnet18",
        ) from None


def _place() -> Path:
    """Where torchvision keeps the file."""
    return Path(torch.hub.get_dir()) / "checkpoints" / RESNET18.url.rpartition("/")[2]


def _cached() -> Path:
    path = _place()
    if not path.is_file():
        raise bad_input(
            "there are no ImageNet weights for ResNet18 on this machine",
            where=str(path),
            why="most of its layers stay as they are, so random ones would never see anything",
            fix=f"--image-weights {TORCHVISION} fetches them; --image-weights FILE takes torchvision's or timm's resnet18; a model whose name "
            f"ends in -cnn needs none; --image-weights {RANDOM} tries things out with random ones",
        )
    return path


def _fetched() -> Path:
    """torchvision's file, fetched over the network where it is not there. The start of its hash is in its name, and checked."""
    path = _place()
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
                fix="fetch the file elsewhere and give --image-weights FILE",
            ) from None
    return path


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise mismatch(
            f"not a whole safetensors file: {error}", where=str(path), fix="fetch it again"
        ) from None
