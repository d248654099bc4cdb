"""Checkpoints: their weights, and what ours say beside them. No code of a checkpoint is run."""

from __future__ import annotations

import contextlib
import functools
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any

import torch
from torch.utils import serialization

from hardpairs.core.errors import UserError, mismatch, usage
from hardpairs.core.paths import WEIGHTS
from hardpairs.data.manifest import sha256_file
from hardpairs.models import huggingface
from hardpairs.models.model_config import model_config
from hardpairs.models.weight_files import SAFE, file_identity, read_weights_file

HEAD = "embedding_head"
"""First word of the entries that metric learning adds to a checkpoint's weights
(``hardpairs.models.head``)."""
PREPROCESS = "preprocess"
"""Entry of a checkpoint of ours: how its images were prepared, by OpenCLIP's names."""


def is_weights(pretrained: str | None) -> bool:
    """Return whether ``pretrained`` names a file or folder of weights, and not a tag."""
    return pretrained is not None and (
        os.path.isfile(pretrained) or huggingface.is_folder(pretrained)
    )


def weights_identity(pretrained: str) -> str:
    """Return what tells weights from others: the sha256 of their file, or the tag."""
    if not is_weights(pretrained):
        return f"tag:{pretrained}"
    return f"sha256:{sha256_file(huggingface.weights_file(pretrained))}"


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a checkpoint, which is verified before.

    Raises:
        UserError: exit 2 when there is no such file, exit 4 when it is damaged, holds code, or is
            no checkpoint.
    """
    _check_is_file(path)
    content = read_weights_file(path)
    if not isinstance(content, dict) or not isinstance(content.get("state_dict", {}), dict):
        raise mismatch(
            "not a checkpoint: it holds no weights by name",
            where=str(path),
            fix="give another checkpoint",
        )
    return content


def _check_is_file(path: str | os.PathLike[str]) -> None:
    if not os.path.isfile(path):
        raise usage("no such checkpoint", where=str(path), fix="check the path")


def verify_weights(path: str | os.PathLike[str]) -> None:
    """Refuse (exit 4) a damaged file of weights that another program is about to read.

    Args:
        path: A file, or a folder of files, of which ``.safetensors`` go before others. Files of
            other formats are left to the program.
    """
    files = sorted(Path(path).iterdir()) if os.path.isdir(path) else [Path(path)]
    known = [file for file in files if file.suffix in WEIGHTS and file.is_file()]
    safe = [file for file in known if file.suffix == SAFE]
    for file in safe or known:
        with mapped(file):
            load_checkpoint(file)


@contextlib.contextmanager
def mapped(weights: str | os.PathLike[str] | None) -> Iterator[None]:
    """Let ``torch.load`` map a file into memory where its format can be mapped.

    Reading an entry then does not read the weights. Use it only for tensors that are copied within
    the block: a mapped tensor changes when its file is overwritten.
    """
    can_be_mapped = False
    with contextlib.suppress(zipfile.BadZipFile):  # which it raises for some damaged archives
        can_be_mapped = weights is not None and zipfile.is_zipfile(weights)
    with serialization.config.patch({"load.mmap": can_be_mapped}):  # type: ignore[attr-defined]
        yield


def checkpoint_weights(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint by OpenCLIP's names.

    Names of a run of several processes and of Hugging Face's CLIP are translated.
    """
    state = stored_weights(path)
    return huggingface.to_openclip(state) if huggingface.MARK in state else state


def stored_weights(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint file or folder by their stored names."""
    if os.path.isdir(path):
        return weights_in(huggingface.read_folder(str(path)))
    return weights_in(load_checkpoint(path))


def weights_in(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint's content, without the prefix of distributed training."""
    state = content.get("state_dict", content)
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def without_head(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights without those of the head of metric learning."""
    return {name: value for name, value in state.items() if not name.startswith(f"{HEAD}.")}


def checkpoint_vocabulary(path: str | os.PathLike[str]) -> list[str] | None:
    """Return the vocabulary in a checkpoint of ours; ``None`` for any other."""
    vocabulary: list[str] | None = _entry(path, "vocabulary")
    if vocabulary is not None and not _is_list_of(vocabulary, str):
        raise _wrong_entry("vocabulary", path)
    return vocabulary


def checkpoint_preprocess(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return how a checkpoint's images were prepared, as options of OpenCLIP's model makers.

    The options are empty where the checkpoint does not say it.
    """
    stored = _stored_preprocess(path)
    names = ("mean", "std", "interpolation", "resize_mode")
    return {
        f"image_{name}": tuple(stored[name]) if isinstance(stored[name], list) else stored[name]
        for name in names
        if name in stored
    }


def checkpoint_image_size(
    path: str | os.PathLike[str], model_name: str
) -> dict[str, tuple[int, int]]:
    """Return the forced image size of a run, as an option of OpenCLIP's model makers.

    The options are empty where the size is the model's own.
    """
    stored = _stored_preprocess(path)
    size = _height_width(stored.get("size"))
    own = _height_width((model_config(model_name) or {}).get("vision_cfg", {}).get("image_size"))
    return {} if size is None or size == own else {"force_image_size": size}


def _stored_preprocess(path: str | os.PathLike[str]) -> dict[str, Any]:
    stored = _entry(path, PREPROCESS) or {}
    if not isinstance(stored, dict) or not (
        all(_is_list_of(stored.get(name) or [], int | float) for name in ("mean", "std"))
        and all(
            isinstance(stored.get(name) or "", str) for name in ("interpolation", "resize_mode")
        )
        and _is_size(stored.get("size"))
    ):
        raise _wrong_entry(PREPROCESS, path)
    return stored


def _is_list_of(value: Any, kind: type | UnionType) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, kind) for each in value)


def _is_size(size: Any) -> bool:
    return size is None or isinstance(size, int) or (bool(size) and _is_list_of(size, int))


def _wrong_entry(name: str, path: str | os.PathLike[str]) -> UserError:
    return mismatch(
        f"not a checkpoint of ours: its entry {name} has another form",
        where=str(path),
        fix="give another checkpoint",
    )


def _height_width(size: Any) -> tuple[int, int] | None:
    if size is None or isinstance(size, int):
        return None if size is None else (size, size)
    return size[0], size[-1]


def _entry(path: str | os.PathLike[str], name: str) -> Any:
    if os.path.isdir(path) or str(path).endswith(SAFE):  # tensors alone
        return None
    _check_is_file(path)
    return _entries(file_identity(path))[name]


@functools.lru_cache(maxsize=16)
def _entries(file: tuple[str, int, int, int]) -> dict[str, Any]:
    """Return what a checkpoint of ours says beside its weights; each file is read once."""
    with mapped(file[0]):
        content = load_checkpoint(file[0])
    return {name: content.get(name) for name in ("vocabulary", PREPROCESS)}
