"""Measure accuracy on class folders: zero-shot by the classes' names, and a linear probe."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch

from hardpairs.core.errors import bad_input, usage
from hardpairs.data.clip_benchmark import read_templates
from hardpairs.embedding.distinct import encode_images
from hardpairs.evaluating.class_images import ClassImages, open_classes
from hardpairs.metrics.classify import accuracy, hold_out, linear_probe
from hardpairs.models.encoders import from_encoder
from hardpairs.models.load import Encoder
from hardpairs.models.prompts import Names, look_like_codes, prompt_names
from hardpairs.pages.numbers import reasons_text

Options = dict[str, int | str]
"""Options of embedding: ``batch_size``, ``workers`` and ``device``."""


def read_prompts(path: str | None, folder: str | None = None) -> list[str]:
    """Read prompt templates, one a line, with ``{}`` or ``{c}`` for the class.

    Args:
        path: The file. Without one they are those of the folder, else OpenCLIP's 80 templates for
            ImageNet.
        folder: The images, which may be in CLIP_benchmark's layout.

    Raises:
        UserError: Exit 2 for a file that is not there, exit 3 for a line without ``{}``.
    """
    if path is None and folder is not None and (own := read_templates(folder)):
        return own
    if path is None:
        return [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    if not Path(path).is_file():
        raise usage(
            "no such file",
            where=path,
            fix="a text file with one template a line, such as: a photo of a {}.",
        )
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise bad_input("the templates are not UTF-8", where=path) from None
    lines = [line.strip().replace("{c}", "{}") for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if line.count("{}") != 1]
    if wrong or not lines:
        raise bad_input(
            "a template has one {} for the class",
            where=f"{path}: {wrong[0] if wrong else 'no line'}",
        )
    return lines


def zero_shot(
    folder: str,
    encoder: Encoder,
    prompts: list[str],
    options: Options,
    class_names: Names | None = None,
) -> dict[str, Any]:
    """Measure zero-shot accuracy; a class is the mean of its prompts' embeddings, as in OpenCLIP.

    Args:
        folder: A folder with a folder of images for each class, called by the class's name or by
            its id in ImageNet; or one in CLIP_benchmark's layout.
        encoder: The model.
        prompts: Templates with ``{}`` for the class.
        options: Options of embedding.
        class_names: The names of the classes, as ``hardpairs.models.prompts.read_names`` returns
            them; without them they are those of the folders.

    Returns:
        Top-1 and top-5 accuracy, the numbers of images, classes and prompts, and the first classes'
        names as the prompts have them.
    """
    images = open_classes(folder)
    names = images.names
    if images.are_folders or class_names is not None:
        names = prompt_names(images.names, folder, class_names)
    if look_like_codes(names):
        logging.warning(
            f"warning: class names look like codes ({', '.join(names[:3])}): a prompt is "
            f"{prompts[0].replace('{}', names[0])!r}. --classnames FILE gives the names."
        )
    templates = [
        lambda name, template=template: template.replace("{}", name) for template in prompts
    ]
    with torch.inference_mode():
        classifier = open_clip.build_zero_shot_classifier(
            encoder.model, encoder.tokenizer, names, templates, device=str(options["device"])
        )
    rows, labels = _embedded(images, images.labels, encoder, options)
    measured = accuracy(rows @ classifier.float().cpu().numpy(), labels)
    return {
        **measured,
        "pictures": len(rows),
        "classes": len(names),
        "prompts": len(prompts),
        "first_classes": names[:3],
    }


def probe(folder: str, encoder: Encoder, options: Options) -> dict[str, float]:
    """Measure a linear probe, which is trained on ``train`` and tested on ``test``.

    Its strength is chosen on ``val``; without that, on a fifth of ``train``.

    Args:
        folder: A folder with the parts, each with a folder of images for each class, or with the
            shards of CLIP_benchmark's layout.
        encoder: The model.
        options: Options of embedding.

    Returns:
        What ``hardpairs.metrics.classify.linear_probe`` returns, and the numbers of test images
        and classes.
    """
    parts = {name: Path(folder) / name for name in ("train", "val", "test")}
    missing = [str(parts[name]) for name in ("train", "test") if not parts[name].is_dir()]
    if missing:
        raise usage(
            "no such folder",
            where=", ".join(missing),
            fix="a folder with train/CLASS/... and test/CLASS/...",
        )
    images = {name: open_classes(str(path)) for name, path in parts.items() if path.is_dir()}
    names = sorted({name for part in images.values() for name in part.classes})
    trained = {images["train"].classes[label] for label in images["train"].labels}
    unknown = sorted(set(names) - trained)
    if unknown:
        raise bad_input(
            f"{len(unknown)} of {len(names)} classes have no image to train the probe on",
            where=f"{parts['train']}: no {', '.join(unknown[:3])}",
            why="they would all count as wrong",
            fix="the same class folders in all parts",
        )
    sets = {
        name: _embedded(part, part.labels_among(names), encoder, options)
        for name, part in images.items()
    }
    if "val" not in sets:
        rows, labels = sets["train"]
        held = hold_out(labels)
        sets |= {"train": (rows[~held], labels[~held]), "val": (rows[held], labels[held])}
    if len(np.unique(sets["train"][1])) < 2 or not len(sets["val"][1]):
        raise bad_input(
            "a probe needs two classes, and images to choose its strength by",
            where=str(parts["train"]),
        )
    measured = linear_probe(sets["train"], sets["val"], sets["test"])
    return {**measured, "pictures": len(sets["test"][1]), "classes": len(names)}


def _embedded(
    images: ClassImages, labels: np.ndarray, encoder: Encoder, options: Options
) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings and labels of the images that can be read."""
    encode = from_encoder(encoder, str(options["device"])).image
    found = encode_images(images, encode, **options)  # type: ignore[arg-type]
    keep = np.ones(len(images), bool)
    keep[list(found.unreadable)] = False
    if not keep.any():
        reasons = reasons_text(found.unreadable)
        raise bad_input("no image can be read", where=images.files.paths[0], why=reasons)
    return found.vectors[keep], labels[keep]
