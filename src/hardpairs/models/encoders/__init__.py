"""Encoders by name: what turns images and captions into embeddings.

An encoder is a component, one class in one file: ``openclip`` embeds both halves, ``timm`` images,
``sentence-transformers`` captions. ``open_encoders`` puts two halves together. Start reading with
``base``, which says what a half is, then ``timm``.

A package of the user's adds an encoder under the entry point ``hardpairs.encoders``: a subclass of
``ImageEncoder``, ``TextEncoder`` or ``Encoders`` with a ``Config`` that has a field ``name``. It is
chosen by prefix, as in ``--image-encoder KIND/NAME``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hardpairs.core.components import Registry, lazy_exports
from hardpairs.core.devices import check_device
from hardpairs.core.errors import usage

if TYPE_CHECKING:
    from hardpairs.models.encoders.base import EncoderContext, Encoders, ImageEncoder, TextEncoder
    from hardpairs.models.encoders.openclip import from_encoder

__all__ = [
    "ENCODERS",
    "EncoderContext",
    "Encoders",
    "ImageEncoder",
    "TextEncoder",
    "from_encoder",
    "open_encoders",
]

ENCODERS = Registry("encoder", "hardpairs.models.encoders", "hardpairs.encoders")
RANDOM = "none"
"""Name of seeded random weights."""

_PUBLIC = {
    "EncoderContext": "base",
    "Encoders": "base",
    "ImageEncoder": "base",
    "TextEncoder": "base",
    "from_encoder": "openclip",
}
"""Public name: module that holds it."""

__getattr__ = lazy_exports(__name__, _PUBLIC)


def open_encoders(
    *,
    model: str | None = None,
    pretrained: str | None = None,
    image_encoder: str | None = None,
    image_weights: str | None = None,
    image_size: int | None = None,
    image_crop: float | None = None,
    text_encoder: str | None = None,
    device: str = "cpu",
    seed: int = 0,
    captions: Iterable[str] = (),
    resize_mode: str | None = None,
    without_projection: bool = False,
) -> Encoders:
    """Return both halves: each from its own encoder where one is named, else from the model.

    Args:
        model: An OpenCLIP model, or one of ours (``hardpairs-*``, ``miniclip-*``).
        pretrained: Its checkpoint file or OpenCLIP tag; ``none`` for random weights.
        image_encoder: ``KIND/NAME`` of a registered encoder such as ``timm``, or a timm folder.
        image_weights: A local file of its weights; ``none`` for random ones.
        image_size: Height and width of its input in pixels; default: the encoder's own.
        image_crop: Share of the resized image's side that the center crop keeps.
        text_encoder: ``KIND/NAME`` of a registered encoder, or a model of sentence-transformers.
        device: Where the encoders run.
        seed: Seed of random weights.
        captions: Captions of the data, where a model with random weights takes its words from.
        resize_mode: How the model's images become squares: ``shortest``, ``longest``, ``squash``.
        without_projection: Whether the model returns the features of its towers, before their
            projections into one space.

    Raises:
        UserError: Exit 2 for halves that are missing, given twice, or unknown; exit 3 when weights
            cannot be had; exit 4 for weights of another model.
    """
    from hardpairs.models.encoders.base import EncoderContext, Encoders

    check_device(device)
    _check_halves(
        model, image_encoder, text_encoder, bool(image_weights or image_size or image_crop)
    )
    context = EncoderContext(device, captions)
    halves: dict[str, Any] = {}
    if model is not None:
        given: dict[str, Any] = {
            "pretrained": pretrained,
            "resize_mode": resize_mode,
            "without_projection": without_projection,
        }
        both: Encoders = _open("openclip", model, seed, context, given)
        if not image_encoder and not text_encoder:
            return both
        halves = {"image": both.image, "text": both.text}
    if image_encoder:
        given = {
            "image_weights": image_weights,
            "image_size": image_size,
            "image_crop": image_crop,
        }
        kind = "timm"
        halves["image"] = _open_half("image", image_encoder, kind, seed, context, given)
    if text_encoder:
        kind = "sentence-transformers"
        halves["text"] = _open_half("text", text_encoder, kind, seed, context, {})
    return Encoders(halves["image"], halves["text"], one_space=False)


def _check_halves(
    model: str | None, image_encoder: str | None, text_encoder: str | None, has_options: bool
) -> None:
    if model is None and not image_encoder:
        raise usage("nothing embeds the images", fix="give `model`, or `image_encoder`")
    if model is None and not text_encoder:
        raise usage("nothing embeds the captions", fix="give `model`, or `text_encoder`")
    if model is not None and image_encoder and text_encoder:
        raise usage(
            "`model` embeds nothing when `image_encoder` and `text_encoder` are given",
            fix="leave it out",
        )
    if has_options and not image_encoder:
        raise usage(
            "`image_weights`, `image_size` and `image_crop` go with `image_encoder`",
            fix="for `model` give `pretrained`",
        )


def _open_half(
    half: str,
    name: str,
    default: str,
    seed: int,
    context: EncoderContext,
    given: dict[str, Any],
) -> Any:
    """Return an image or a text encoder of the kind that the name's prefix chooses."""
    from hardpairs.models.encoders.base import Encoders, ImageEncoder, TextEncoder

    prefix, slash, _ = name.partition("/")
    kind = prefix if slash and prefix in ENCODERS else default
    encoder = _open(kind, name, seed, context, given)
    if isinstance(encoder, Encoders):
        return getattr(encoder, half)
    if not isinstance(encoder, ImageEncoder if half == "image" else TextEncoder):
        raise usage(f"the encoder {kind} does not embed {half}s", fix="choose another one")
    return encoder


def _open(kind: str, name: str, seed: int, context: EncoderContext, given: dict[str, Any]) -> Any:
    """Return an encoder, or both, with the options of its ``Config`` that are given."""
    component = ENCODERS.load(kind)
    fields = {field.name for field in dataclasses.fields(component.Config)}
    options = {option: value for option, value in given.items() if value is not None}
    if unread := sorted(options.keys() - fields):
        names = " and ".join(f"`{option}`" for option in unread)
        raise usage(f"the encoder {kind} does not read {names}", fix="leave it out")
    if "seed" in fields:
        options["seed"] = seed
    return component.from_config(component.Config(name=name, **options), context)
