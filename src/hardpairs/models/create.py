"""Models from names and weights: OpenCLIP's maker for its models and ours."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import torch
from timm.layers.norm_act import BatchNormAct2d, freeze_batch_norm_2d
from torch import nn

from hardpairs.core.errors import UserError, bad_input, mismatch, usage
from hardpairs.models import huggingface
from hardpairs.models.checkpoint import (
    HEAD,
    checkpoint_weights,
    is_weights,
    load_checkpoint,
    mapped,
    stored_weights,
    verify_weights,
    weights_in,
    without_head,
)
from hardpairs.models.download import downloading
from hardpairs.models.miniclip import MiniCLIP, create_miniclip, image_weights, is_miniclip
from hardpairs.models.model_config import make_tokenizer, model_config, unknown_model
from hardpairs.models.model_folder import folder_options, folder_weights, model_folder
from hardpairs.models.tokenizer import SPECIALS
from hardpairs.models.weight_files import check_finite

WEIGHTS_ERRORS = (RuntimeError, AssertionError, KeyError)
"""Errors of OpenCLIP for an unknown model and for weights of another shape."""


def create_model_and_transforms(
    model_name: str,
    pretrained: str | None = None,
    *,
    vocabulary: list[str] | None = None,
    **options: Any,
) -> tuple[nn.Module, Callable[..., Any], Callable[..., Any]]:
    """Create a model; the one place where a name becomes a model.

    Args:
        model_name: A model of OpenCLIP or of ours.
        pretrained: A checkpoint, an OpenCLIP tag, or ``None``: the weights of ``local-dir:FOLDER``,
            or random ones.
        vocabulary: Words of a ``miniclip-*`` without a checkpoint; its word table has as many rows.
        options: Options of ``open_clip.create_model_and_transforms``.

    Returns:
        The model, the transform for training, and the transform for everything else.

    Raises:
        UserError: exit 2 for an unknown name, exit 3 when the weights cannot be had, exit 4 for a
            torn or foreign checkpoint.
    """
    config, folder = model_config(model_name), model_folder(model_name)
    try:
        if folder is not None:
            if (weights := pretrained or folder_weights(model_name)) is not None:
                verify_weights(weights)
            return _from_folder(folder, model_name, pretrained, options)
        if config is None or not is_miniclip(config):
            source = downloading(model_name, pretrained, options.get("cache_dir"))
            with source, loadable(pretrained, model_name) as weights, mapped(weights):
                made = open_clip.create_model_and_transforms(model_name, weights, **options)
            if pretrained and not is_weights(pretrained):  # a tag, whose file OpenCLIP has read
                check_finite(made[0].state_dict(), f"{model_name} {pretrained}")
            return made[0], made[1], made[2]
        if not pretrained:
            return create_miniclip(config, vocabulary_size=len(vocabulary or ()), **options)
        content = load_checkpoint(pretrained)
        make_tokenizer(model_name, content.get("vocabulary"))  # refuses one without a vocabulary
        state, size = without_head(weights_in(content)), len(content["vocabulary"])
        return create_miniclip(config, state, vocabulary_size=size, **options)
    except WEIGHTS_ERRORS as error:
        raise weights_error(error, model_name, pretrained) from None


def _from_folder(
    folder: Path, model_name: str, pretrained: str | None, options: dict[str, Any]
) -> tuple[nn.Module, Callable[..., Any], Callable[..., Any]]:
    """Create the model of ``local-dir:FOLDER``, with other weights than the folder's if given."""
    if not hasattr(open_clip.factory, "LOCAL_DIR_PREFIX"):
        raise usage(
            f"open_clip_torch {open_clip.__version__} does not know local-dir:FOLDER",
            fix="pip install 'open_clip_torch>=3'",
        )
    made = open_clip.create_model_and_transforms(model_name, **options, **folder_options(folder))
    if pretrained and pretrained != folder_weights(model_name):  # OpenCLIP ignores it
        with loadable(pretrained, model_name) as weights, mapped(weights):
            open_clip.load_checkpoint(made[0], weights)
    return made[0], made[1], made[2]


@contextlib.contextmanager
def loadable(pretrained: str | None, model_name: str) -> Iterator[str | None]:
    """Give weights to the block as OpenCLIP can load them.

    Weights with the head of metric learning or with Hugging Face's names are copied to a temporary
    file, without the head and renamed.

    Args:
        pretrained: A checkpoint, an OpenCLIP tag, or ``None``.
        model_name: The model that is to load them.

    Raises:
        UserError: exit 4 when the model has another activation than a Hugging Face folder.
    """
    with mapped(pretrained):
        state = stored_weights(pretrained) if pretrained and is_weights(pretrained) else {}
    foreign = huggingface.MARK in state
    if not foreign and not any(name.startswith(f"{HEAD}.") for name in state):
        yield pretrained
        return
    if foreign and os.path.isdir(str(pretrained)):
        _check_activation(str(pretrained), model_name)
    state = huggingface.to_openclip(state) if foreign else state
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.pt")
        torch.save({"state_dict": without_head(state)}, path)
        yield path


def _check_activation(folder: str, model_name: str) -> None:
    theirs = huggingface.activation(folder) == "quick_gelu"
    if theirs != bool((model_config(model_name) or {}).get("quick_gelu")):
        better = f"{model_name}-quickgelu" if theirs else model_name.removesuffix("-quickgelu")
        raise mismatch(
            f"the folder's activation is {huggingface.activation(folder)}, "
            f"not that of {model_name}",
            where=folder,
            fix=f"`model` {better}",
        )


def weights_error(error: Exception, model_name: str, pretrained: str | None) -> UserError:
    """Return OpenCLIP's error on creating a model as one of ours.

    Args:
        error: One of ``WEIGHTS_ERRORS``.
        model_name: The model that was to be created.
        pretrained: Its weights.
    """
    reason = str(error).splitlines()[-1].strip()[:200]
    if ":" not in model_name and model_config(model_name) is None:
        return unknown_model(model_name)
    if is_weights(pretrained):
        return mismatch(
            f"the checkpoint is not of {model_name}: {reason}",
            where=str(pretrained),
            fix="`model`: the name it was trained with",
        )
    return bad_input(f"the model cannot be made: {reason}", where=str(pretrained))


def find_image_weights(model_name: str, choice: str | None, *, fresh: bool) -> Path | None:
    """Return the file of weights that the image tower of a ``miniclip-*`` starts from.

    Args:
        model_name: The model.
        choice: As in ``hardpairs.models.miniclip.image_weights.find_image_weights``.
        fresh: Whether the model starts from no checkpoint.

    Returns:
        ``None`` where there is no file to load.

    Raises:
        UserError: exit 2 for a choice that has no effect or that the tower cannot take, exit 3 when
            the weights cannot be had.
    """
    config = model_config(model_name)
    if config is not None and is_miniclip(config):
        tower = config["vision_cfg"]["tower"]
        return image_weights.find_image_weights(tower, choice) if fresh else None
    if choice is not None:
        raise usage(
            f"`image_weights` {choice} is for models of small towers, and {model_name} is not one",
            fix="leave it out",
        )
    return None


def prepare_towers(model: MiniCLIP, vocabulary: list[str] | None, weights: Path | None) -> None:
    """Give a new model its words and its image tower the weights of ``find_image_weights``.

    Args:
        model: A model without a checkpoint; changed in place.
        vocabulary: Its words.
        weights: A file, or ``None``.
    """
    model.text.set_vocabulary_size(SPECIALS + len(vocabulary or ()))
    if weights is not None:
        image_weights.load_image_weights(model.visual, weights, checkpoint_weights)


def freeze_statistics(model: nn.Module) -> nn.Module:
    """Return the model with batch norms that keep the statistics they have.

    OpenCLIP's models no longer train their scales and shifts either; a ``miniclip-*`` does.
    """
    if not isinstance(model, MiniCLIP):
        # OpenCLIP's function would drop the activation that timm keeps inside a batch norm.
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, BatchNormAct2d):
                    setattr(parent, name, freeze_batch_norm_2d(child))  # type: ignore[no-untyped-call]
        frozen: nn.Module = open_clip.utils.freeze_batch_norm_2d(model)
        return frozen
    model.visual.freeze_statistics()
    return model


def preprocess_of(model: nn.Module) -> dict[str, Any]:
    """Return how a model's images are prepared, by OpenCLIP's names, as JSON values."""
    config = open_clip.get_model_preprocess_cfg(model)
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in config.items()
    }
