"""The model of two small towers, made from a configuration of ours (``miniclip-*``)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import open_clip
import torch
from open_clip.model import set_model_preprocess_cfg
from open_clip.transform import (
    PreprocessCfg,
    image_transform_v2,
    merge_preprocess_dict,
    merge_preprocess_kwargs,
)
from torch import nn

from hardpairs.core.errors import usage
from hardpairs.models.miniclip.image import IMAGE_TOWERS, ImageTower
from hardpairs.models.miniclip.text import TEXT_TOWERS, TextTower
from hardpairs.models.tokenizer import SPECIALS

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PRECISIONS = ("fp32", "amp", "amp_bf16", "amp_bfloat16")
"""Precisions of the towers. OpenCLIP's others convert the weights of some kinds of layers to half
precision, and the LSTM is not among them."""

NOT_OURS = (
    *("jit", "force_quick_gelu", "force_custom_text", "force_patch_dropout"),
    *("pretrained_image", "pretrained_image_path", "pretrained_text_path"),
)
"""Options of OpenCLIP's model makers that are refused."""


class MiniCLIP(open_clip.CustomTextCLIP):  # type: ignore[misc]
    """OpenCLIP's model of two towers, with towers of ours.

    Args:
        visual: An image tower.
        text: A text tower with the same ``embed_dim``.
        init_logit_scale: Logarithm of the factor of cosines, ln(1/0.07); OpenCLIP's trainer clamps
            it to at most ln(100).
        init_logit_bias: Bias of the sigmoid loss, or ``None``.
        output_dict: Whether ``forward`` returns a dict, as the trainer needs.
    """

    def __init__(
        self,
        visual: ImageTower,
        text: TextTower,
        *,
        init_logit_scale: float = math.log(1 / 0.07),
        init_logit_bias: float | None = None,
        output_dict: bool = False,
    ) -> None:
        nn.Module.__init__(self)  # CustomTextCLIP's own would make OpenCLIP's towers
        self.output_dict = output_dict
        self.visual, self.text = visual, text
        self.context_length = text.context_length
        self.logit_scale = nn.Parameter(torch.tensor(float(init_logit_scale)))
        self.logit_bias = (
            nn.Parameter(torch.tensor(float(init_logit_bias)))
            if init_logit_bias is not None
            else None
        )

    @property
    def vocab_size(self) -> int:
        """Rows of the text tower's word table."""
        return int(self.text.vocab_size)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Raise UserError (exit 2): the towers have no gradient checkpointing."""
        raise usage(
            "these towers are small, and have no gradient checkpointing",
            fix="leave out `grad_checkpointing`",
        )


def is_miniclip(config: dict[str, Any] | None) -> bool:
    """Return whether a model configuration names towers of ours."""
    return "tower" in (config or {}).get("vision_cfg", {})


def create_miniclip(
    config: dict[str, Any],
    state: dict[str, torch.Tensor] | None = None,
    *,
    vocabulary_size: int = 0,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    force_image_size: int | tuple[int, int] | None = None,
    force_context_length: int | None = None,
    image_mean: tuple[float, ...] | None = None,
    image_std: tuple[float, ...] | None = None,
    image_interpolation: str | None = None,
    image_resize_mode: str | None = None,
    aug_cfg: Any = None,
    init_logit_scale: float = math.log(1 / 0.07),
    init_logit_bias: float | None = None,
    output_dict: bool | None = None,
    **others: Any,
) -> tuple[MiniCLIP, Callable[..., Any], Callable[..., Any]]:
    """Create a model and its transforms, from the options of OpenCLIP's model makers.

    Args:
        config: The configuration of a model of ours.
        state: Weights by name; ``None`` for random ones.
        vocabulary_size: Words of the vocabulary, without the special tokens.
        device: As in OpenCLIP.
        precision: One of ``PRECISIONS``.
        force_image_size: As in OpenCLIP.
        force_context_length: As in OpenCLIP.
        image_mean: As in OpenCLIP.
        image_std: As in OpenCLIP.
        image_interpolation: As in OpenCLIP.
        image_resize_mode: As in OpenCLIP.
        aug_cfg: As in OpenCLIP.
        init_logit_scale: As in ``MiniCLIP``.
        init_logit_bias: As in ``MiniCLIP``.
        output_dict: As in ``MiniCLIP``.
        others: Options that mean something for OpenCLIP's own models only.

    Returns:
        The model, the transform for training, and the transform for everything else.

    Raises:
        UserError: exit 2 for a precision or an option that these towers do not have.
        RuntimeError: The weights have another shape.
    """
    _refuse_foreign_options(precision, others)
    visual, text = _make_towers(config, vocabulary_size, force_image_size, force_context_length)
    model = MiniCLIP(
        visual,
        text,
        init_logit_scale=init_logit_scale,
        init_logit_bias=init_logit_bias,
        output_dict=bool(output_dict),
    )
    if state is not None:
        model.load_state_dict(state)
    given = merge_preprocess_kwargs(
        {},
        mean=image_mean,
        std=image_std,
        interpolation=image_interpolation,
        resize_mode=image_resize_mode,
    )
    preprocess = PreprocessCfg(**merge_preprocess_dict(preprocess_of(model), given))
    set_model_preprocess_cfg(model, asdict(preprocess))
    train = image_transform_v2(preprocess, is_train=True, aug_cfg=aug_cfg)
    return model.to(device), train, image_transform_v2(preprocess, is_train=False)


def _refuse_foreign_options(precision: str, others: dict[str, Any]) -> None:
    if precision not in PRECISIONS:
        raise usage(
            f"these towers do not run in {precision}", fix=f"`precision` {' or '.join(PRECISIONS)}"
        )
    for name in NOT_OURS:
        if others.get(name):
            raise usage(f"`{name}` has no meaning for a model of small towers", fix="leave it out")


def _make_towers(
    config: dict[str, Any],
    vocabulary_size: int,
    image_size: int | tuple[int, int] | None,
    context_length: int | None,
) -> tuple[ImageTower, TextTower]:
    vision, text = (
        {key: value for key, value in config[part].items() if key != "tower"}
        for part in ("vision_cfg", "text_cfg")
    )
    del text["vocab_size"], text["tokenizer_mode"]
    vision["image_size"] = image_size or vision["image_size"]
    text["context_length"] = context_length or text["context_length"]
    make_image = IMAGE_TOWERS[config["vision_cfg"]["tower"]]
    make_text = TEXT_TOWERS[config["text_cfg"]["tower"]]
    return (
        make_image(embed_dim=config["embed_dim"], **vision),
        make_text(SPECIALS + vocabulary_size, embed_dim=config["embed_dim"], **text),
    )


def preprocess_of(model: MiniCLIP) -> dict[str, Any]:
    """Return MiniCLIP's preparation of an image: stretched, with ImageNet's mean and std."""
    size = model.visual.image_size
    return {
        **asdict(PreprocessCfg()),
        "size": size,
        **IMAGENET,
        "interpolation": "bilinear",
        "resize_mode": "squash",
    }
