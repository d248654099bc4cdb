"""Image towers: a ResNet18 with frozen early layers, and a CNN that starts from random weights.

Both are MiniCLIP's, weight by weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torchvision
from torch import nn

RESNET_FEATURES = 512


class ImageTower(nn.Module):
    """Pooled features of a backbone through a head; OpenCLIP's interface of an image tower.

    Args:
        backbone: (B, 3, H, W) pixels to (B, features).
        features: Width of its output.
        groups: Parts of the backbone from input to output, for ``lock``.
        image_size: Height and width of the images in pixels. The pooling accepts any size.
        hidden: Width of the head's inner layer.
        embed_dim: Width of the embeddings.
        dropout: Share of the head's inner units left out in training.
    """

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        groups: Sequence[Sequence[nn.Module]],
        *,
        image_size: int | tuple[int, int],
        hidden: int,
        embed_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if isinstance(image_size, int):
            image_size = (image_size, image_size)
        self.image_size = tuple(image_size)
        self.backbone = backbone
        self.head = nn.Sequential(
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, embed_dim),
        )
        for layer in self.head:
            if isinstance(layer, nn.Linear):
                # By the number of outputs, as MiniCLIP does: the embeddings start larger.
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        self._groups = [*groups, [self.head]]
        self._keeps_statistics = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, embed_dim) features, not of unit length, of (B, 3, H, W) normalized pixels."""
        features: torch.Tensor = self.head(self.backbone(images))
        return features

    def lock(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze all but the last parts (OpenCLIP's ``--lock-image``).

        Args:
            unlocked_groups: Number of parts that stay trainable; the head is the last.
            freeze_bn_stats: Call ``freeze_statistics``, too.
        """
        for group in self._groups[: len(self._groups) - unlocked_groups]:
            for module in group:
                module.requires_grad_(False)
        if freeze_bn_stats:
            self.freeze_statistics()

    def freeze_statistics(self) -> None:
        """Let batch norms keep the statistics they have, in training, too.

        Their scales and shifts stay trainable.
        """
        self._keeps_statistics = True
        self.train(self.training)

    def train(self, mode: bool = True) -> ImageTower:
        """Set the training mode, but not of batch norms that keep their statistics."""
        super().train(mode)
        if self._keeps_statistics:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def resnet18(trained_tensors: int, **options: Any) -> ImageTower:
    """Return a ResNet18 up to its pooling, with random weights.

    All parameter tensors but the last ``trained_tensors`` are frozen; the last 20 are layer4 and
    the end of layer3. The running statistics of frozen batch norms still move, unless
    ``freeze_statistics`` is called.
    """
    network = torchvision.models.resnet18(weights=None)
    network.fc = nn.Identity()
    parameters = list(network.parameters())
    for parameter in parameters[: len(parameters) - trained_tensors]:
        parameter.requires_grad_(False)
    stem = [network.conv1, network.bn1, network.layer1]
    return ImageTower(
        network,
        RESNET_FEATURES,
        [stem, [network.layer2], [network.layer3], [network.layer4]],
        **options,
    )


def cnn(channels: Sequence[int], **options: Any) -> ImageTower:
    """Return MiniCLIP's CNN: convolution, batch norm and ReLU for each of ``channels``.

    The first convolution is 7 x 7 and halves the image, as does the maximum after it; the others
    are 3 x 3 and halve it once. The mean over the image follows.
    """
    blocks = [
        nn.Sequential(
            nn.Conv2d(before, after, size, stride=2, padding=size // 2),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        )
        for before, after, size in zip((3, *channels), channels, (7, 3, 3, 3), strict=False)
    ]
    blocks[0].append(nn.MaxPool2d(2))
    network = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return ImageTower(network, channels[-1], [[block] for block in blocks], **options)


IMAGE_TOWERS: dict[str, Callable[..., ImageTower]] = {"resnet18": resnet18, "cnn": cnn}
"""Makers of image towers by the name in a configuration's ``vision_cfg``."""
