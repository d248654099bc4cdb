"""A pretrained model as a folder, ``local-dir:FOLDER``.

FOLDER/open_clip_config.json open_clip_model.safetensors     as OpenCLIP's hub has them
FOLDER/tokenizer.json ...        where the text tower is one of Hugging Face
FOLDER/manifest.json             its name, and the hashes of the above
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hardpairs.catalog import lite0_minilm
from hardpairs.core.atomic import atomic_open, write_json
from hardpairs.core.errors import bad_input, mismatch, usage
from hardpairs.data.manifest import NAME, read_manifest, write_manifest
from hardpairs.models.download import HUB, fetching
from hardpairs.models.model_folder import CONFIG, WEIGHT_NAMES, WEIGHTS

DESCRIPTIONS = ("*.json", "*.txt", "*.model")
"""Files of a repository that tell of a model, its tokenizer's among them."""


def build_model(name: str, folder: Path, packages: Path) -> dict[str, Any]:
    """Make the folder of a model, or check the one that is there.

    Args:
        name: ``lite0-minilm``, a model and a tag of OpenCLIP, as in
            ``ViT-B-32/laion2b_s34b_b79k``, or a repository of an OpenCLIP model on Hugging Face, as
            in ``hf-hub:timm/ViT-B-16-SigLIP``.
        folder: Where it is made.
        packages: Where the files of packages are looked for and kept.

    Returns:
        Its manifest.

    Raises:
        UserError: Exit 2 for an unknown name or without transformers; exit 3 when the weights
            cannot be had, or the folder holds something else; exit 4 when it holds another model.
    """
    if (folder / NAME).is_file():
        manifest = read_manifest(folder)
        if manifest.get("kind") != "model" or manifest.get("name") != name:
            raise mismatch(
                f"the folder does not hold the model {name}",
                where=str(folder),
                fix="give a new folder as `out`",
            )
        return manifest
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIG).is_file():
        raise bad_input(
            "the folder holds other files", where=str(folder), fix="give a new folder as `out`"
        )
    if name == lite0_minilm.NAME:
        lite0_minilm.build_lite0_minilm(folder, packages)
    elif name.startswith(HUB):
        _fetch_repository(name.removeprefix(HUB), folder)
    else:
        _build_openclip(name, folder)
    files = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    return write_manifest(folder, {"kind": "model", "name": name}, files)


def _build_openclip(name: str, folder: Path) -> None:
    from hardpairs.models.load import load_encoder
    from hardpairs.models.model_config import model_config

    model, _, tag = name.partition("/")
    config = model_config(model)
    if config is None or not tag:
        raise usage(
            f"there is no start model {name!r}",
            fix=f"{lite0_minilm.NAME}, MODEL/TAG of OpenCLIP, such as ViT-B-32/laion2b_s34b_b79k, "
            f"or {HUB}REPOSITORY",
        )
    encoder = load_encoder(model, tag)
    write_folder(folder, config, encoder.description["preprocess"], encoder)


def _fetch_repository(repository: str, folder: Path) -> None:
    """Copy a model's files from Hugging Face: of its weights, those that OpenCLIP prefers."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    def fetched(*patterns: str) -> list[Path]:
        snapshot = Path(snapshot_download(repository, allow_patterns=[*patterns]))
        return [path for each in patterns for path in sorted(snapshot.glob(each))]

    try:
        with fetching(repository, [CONFIG]):
            files = fetched(*DESCRIPTIONS)
            weights = next((found for name in WEIGHT_NAMES if (found := fetched(name))), [])
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise bad_input(
            f"the repository cannot be had: {str(error).splitlines()[0]}",
            where=f"{HUB}{repository}",
            fix="check its name, and access to it (hf auth login)",
        ) from None
    if not weights or CONFIG not in [path.name for path in files]:
        raise bad_input(
            f"the repository holds no model of OpenCLIP: {CONFIG} and weights",
            where=f"{HUB}{repository}",
            fix="name one that OpenCLIP can load",
        )
    for path in [*files, *weights]:
        with path.open("rb") as source, atomic_open(folder / path.name) as file:
            shutil.copyfileobj(source, file)


def write_folder(
    folder: Path, config: dict[str, Any], preprocess: dict[str, Any], encoder: Any
) -> None:
    """Write a loaded model as a folder.

    Args:
        folder: Where it is written.
        config: OpenCLIP's configuration of the model.
        preprocess: How its images are prepared, by OpenCLIP's names.
        encoder: The model with its tokenizer.
    """
    from safetensors.torch import save

    write_json(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": preprocess})
    text: Any = getattr(encoder.model, "text", None)
    if hasattr(getattr(text, "config", None), "save_pretrained"):  # a tower of Hugging Face
        text.config.save_pretrained(folder)
    if hasattr(encoder.tokenizer, "save_pretrained"):
        encoder.tokenizer.save_pretrained(folder)
    state = {key: value.clone().contiguous() for key, value in encoder.model.state_dict().items()}
    with atomic_open(folder / WEIGHTS) as file:
        file.write(save(state, {"format": "pt"}))
