"""Encoders by name. A new kind is one file, and one line in the table of its half."""

from __future__ import annotations

from collections.abc import Iterable

from hardpairs.core.errors import usage
from hardpairs.models.encoders.base import Encoders, ImageEncoder, TextEncoder
from hardpairs.models.encoders.openclip import from_encoder, open_openclip
from hardpairs.models.load import check_device

__all__ = ["Encoders", "ImageEncoder", "TextEncoder", "from_encoder", "open_encoders"]


def _timm(name: str, **options) -> ImageEncoder:
    from hardpairs.models.encoders.timm_image import open_timm

    return open_timm(name, **options)


def _sentence_transformers(name: str, **options) -> TextEncoder:
    from hardpairs.models.encoders.sentence_text import open_sentence_transformer

    return open_sentence_transformer(name, **options)


def open_encoders(
    *,
    model: str | None = None,
    pretrained: str | None = None,
    image_encoder: str | None = None,
    image_weights: str | None = None,
    image_size: int | None = None,
    text_encoder: str | None = None,
    device: str = "cpu",
    seed: int = 0,
    captions: Iterable[str] = (),
    resize_mode: str | None = None,
) -> Encoders:
    """Both halves: each from its own encoder where one is named, else from the OpenCLIP model.

    Args:
        model, pretrained: as in ``hardpairs.models.encoders.openclip``.
        image_encoder, image_weights, image_size: as in ``hardpairs.models.encoders.timm_image``.
        text_encoder: as in ``hardpairs.models.encoders.sentence_text``.
        seed: of random weights.
        captions: of the data, as in ``hardpairs.models.encoders.openclip``.
        resize_mode: of the OpenCLIP model's pictures, as in ``hardpairs.models.load.load_encoder``.

    Raises:
        UserError: exit 2 for halves that are missing, given twice, or unknown; 3 and 4 for weights.
    """
    check_device(device)
    missing = [
        flag
        for flag, given in (("--image-encoder", image_encoder), ("--text-encoder", text_encoder))
        if not given
    ]
    if missing and model is None:
        raise usage(
            f"nothing embeds the {'pictures' if missing[0] == '--image-encoder' else 'captions'}",
            fix=f"--model, or {missing[0]}",
        )
    if model is not None and not missing:
        raise usage(
            "--model has no part in it, when --image-encoder and --text-encoder are given",
            fix="leave it out",
        )
    if image_encoder is None and (image_weights or image_size):
        raise usage(
            "--image-weights and --image-size go with --image-encoder",
            fix="--pretrained for --model",
        )
    image, text, clip = None, None, None
    if image_encoder:
        image = _timm(
            image_encoder, weights=image_weights, image_size=image_size, device=device, seed=seed
        )
    if text_encoder:
        text = _sentence_transformers(text_encoder, device=device)
    if model is not None:
        clip = open_openclip(
            model, pretrained, device=device, seed=seed, captions=captions, resize_mode=resize_mode
        )
        if image is None and text is None:
            return clip
    return Encoders(image or clip.image, text or clip.text, one_space=False)
