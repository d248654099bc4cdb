"""The order of a model's weights in memory that its processor multiplies fastest."""

from __future__ import annotations

import torch
from torch import nn


def order_for_inference(model: nn.Module, device: str) -> None:
    """Lay out depthwise convolutions with the channels last, on a CPU.

    PyTorch multiplies them two to three times faster so. The values differ by rounding alone.

    Args:
        model: The model; its weights are changed in place.
        device: Where it runs.
    """
    if torch.device(device).type == "cpu" and any(map(_is_depthwise, model.modules())):
        model.to(memory_format=torch.channels_last)


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels
