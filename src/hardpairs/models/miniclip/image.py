"""Image towers: ResNet18 whose early layers stay as ImageNet made them, and a CNN of four layers that needs no weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchvision
from torch import nn

RESNET_FEATURES = 512


class ImageTower(nn.Module):
    """Pooled features of a backbone through a head; OpenCLIP's interface of an image tower.

    Args:
        backbone: (B, 3, H, W) pixels to (B, features).
        features: width of its output.
        groups: parts of the backbone from input to output, for ``lock``.
        image_size: height and width of the pictures in pixels; the pooling lets any size through.
        hidden: width of the head's inner layer.
        embed_dim: width of the embeddings.
        dropout: share of the head's inner units left out in training.
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
        self.image_size = (
            tuple(image_size) if isinstance(image_size, list | tuple) else (image_size, image_size)
        )
        self.backbone = backbone
        self.head = nn.Sequential(
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, embed_dim),
        )
        for layer in (self.head[0], self.head[4]):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        self._groups = [*groups, [self.head]]
        self._keeps_statistics = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) normalised pixels to (B, embed_dim), not of unit length."""
        return self.head(self.backbone(images))

    def lock(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Stops training of all but the last ``unlocked_groups`` parts, of which the head is the last (OpenCLIP's ``--lock-image``)."""
        for group in self._groups[: len(self._groups) - unlocked_groups]:
            for module in group:
                module.requires_grad_(False)
        if freeze_bn_stats:
            self.freeze_statistics()

    def freeze_statistics(self) -> None:
        """Batch norms use and keep the statistics they have, in training, too; their scales and shifts are trained on."""
        self._keeps_statistics = True
        self.train(self.training)

    def train(self, mode: bool = True) -> ImageTower:
        super().train(mode)
        if self._keeps_statistics:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def resnet18(trained_tensors: int, **options) -> ImageTower:
    """ResNet18 up to its pooling, with random weights as yet; all parameter tensors but the last ``trained_tensors`` are frozen.

    The last 20 are layer4 and the end of layer3. The running statistics of frozen batch norms still move, unless ``freeze_statistics``.
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


def cnn(channels: Sequence[int], **options) -> ImageTower:
    """A convolution of 3 x 3, batch norm, ReLU and halving for each of ``channels``, then the mean over the picture."""
    blocks = [
        nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        for before, after in zip((3, *channels), channels, strict=False)
    ]
    network = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return ImageTower(network, channels[-1], [[block] for block in blocks], **options)


IMAGE_TOWERS = {"resnet18": resnet18, "cnn": cnn}
"""By the name in a config's ``vision_cfg``."""
