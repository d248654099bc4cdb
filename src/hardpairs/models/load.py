"""Models ready to embed: weights, transform and tokenizer as they were trained together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from hardpairs.core.devices import check_device
from hardpairs.core.errors import usage
from hardpairs.models.checkpoint import (
    checkpoint_image_size,
    checkpoint_preprocess,
    checkpoint_vocabulary,
    is_weights,
    weights_identity,
)
from hardpairs.models.create import create_model_and_transforms, preprocess_of
from hardpairs.models.model_config import Tokenizer, make_tokenizer, model_config, unknown_model
from hardpairs.models.model_folder import folder_weights


@dataclass(frozen=True)
class Encoder:
    """A model ready to embed.

    Attributes:
        model: In eval mode; ``encode_image`` and ``encode_text`` as in OpenCLIP.
        transform: RGB image to (3, H, W) float tensor.
        tokenizer: Texts to (T, L) token ids.
        description: What identifies it in a manifest: model, weights (sha256), preprocess.
    """

    model: nn.Module
    transform: Callable[..., Any]
    tokenizer: Tokenizer
    description: dict[str, Any]


def load_encoder(
    model_name: str,
    pretrained: str | None,
    *,
    device: str = "cpu",
    seed: int = 0,
    cache_dir: str | None = None,
    vocabulary: list[str] | None = None,
    resize_mode: str | None = None,
) -> Encoder:
    """Load a model for embedding.

    Args:
        model_name: A model of OpenCLIP or of ours (``hardpairs-*``, ``miniclip-*``).
        pretrained: A checkpoint, an OpenCLIP tag, or ``None``: the weights of ``local-dir:FOLDER``,
            or seeded random ones (tests).
        device: A device of PyTorch.
        seed: Of random weights.
        cache_dir: Folder of what OpenCLIP downloads.
        vocabulary: Words of a model that reads words, without a checkpoint of ours.
        resize_mode: ``shortest`` (then cropped), ``longest`` (padded to a square) or ``squash``; by
            default the checkpoint's, else the model's.

    Raises:
        UserError: exit 2 for unknown names, exit 3 when the weights cannot be had, exit 4 for a
            torn or foreign checkpoint.
    """
    if model_config(model_name) is None and ":" not in model_name:
        raise unknown_model(model_name)
    check_device(device)
    pretrained = pretrained or folder_weights(model_name)
    preprocess: dict[str, Any] = {}
    if pretrained is not None and is_weights(pretrained):
        vocabulary = checkpoint_vocabulary(pretrained)
        preprocess = checkpoint_preprocess(pretrained)
        preprocess |= checkpoint_image_size(pretrained, model_name)
    elif pretrained is not None and pretrained not in _tags(model_name):
        raise usage(
            f"no such checkpoint file, and no pretrained tag of {model_name}",
            where=pretrained,
            fix="check the path",
        )
    tokenizer = make_tokenizer(model_name, vocabulary, cache_dir=cache_dir)
    preprocess |= {"image_resize_mode": resize_mode} if resize_mode else {}
    torch.manual_seed(seed)
    with contextlib.nullcontext() if pretrained is None else _NoRandomWeights():
        model, _, transform = create_model_and_transforms(
            model_name,
            pretrained,
            vocabulary=vocabulary,
            device=device,
            cache_dir=cache_dir,
            **preprocess,
        )
    weights = f"random, seed {seed}" if pretrained is None else weights_identity(pretrained)
    description = {"model": model_name, "weights": weights, "preprocess": preprocess_of(model)}
    return Encoder(model.eval(), transform, tokenizer, description)


def _tags(model_name: str) -> list[str]:
    return list(open_clip.list_pretrained_tags_by_model(model_name))


class _NoRandomWeights(TorchFunctionMode):
    """Draws no random numbers for weights that are about to be loaded.

    They take longer than everything else in creating a model. OpenCLIP loads strictly, so that no
    weight stays undrawn.
    """

    DRAWS = frozenset(
        {
            nn.init.normal_,
            nn.init.uniform_,
            nn.init.kaiming_uniform_,
            torch.Tensor.normal_,
            torch.Tensor.uniform_,
        }
    )

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in self.DRAWS:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)
