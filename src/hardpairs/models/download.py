"""What is said before weights are downloaded: without a network the attempt takes a minute."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of OpenCLIP's weights in a repository of Hugging Face."""


def announce_download(model_name: str, tag: str, cache_dir: str | None = None) -> None:
    """Print to stderr which weights are about to be fetched, where they are not in the cache.

    Args:
        model_name: A model of OpenCLIP.
        tag: The tag of its weights.
        cache_dir: Folder of what OpenCLIP downloads; ``None``: its default.
    """
    import open_clip  # not at the top: other encoders do not need it

    source = open_clip.get_pretrained_cfg(model_name, tag)
    repository, _, file = source.get("hf_hub", "").rpartition("/")
    if repository:
        origin = f"Hugging Face, {repository}"
        cached = _in_hub_cache(repository, (file,) if file else FILES, cache_dir)
    elif source.get("url"):
        origin = source["url"]
        folder = Path(cache_dir or "~/.cache/clip").expanduser()
        cached = (folder / os.path.basename(origin)).is_file()
    else:
        return
    if not cached:
        _announce(f"the weights {tag} of {model_name} from {origin}")


def announce_fetch(repository: str, files: Iterable[str]) -> None:
    """Print to stderr that a model is about to be fetched, where it is not in the hub's cache.

    Args:
        repository: Its name on Hugging Face.
        files: Files of which a fetched model has one.
    """
    if not _in_hub_cache(repository, files, None):
        _announce(f"{repository} from Hugging Face")


def _announce(what: str) -> None:
    if not os.environ.get("HF_HUB_OFFLINE"):
        print(f"fetching {what}", file=sys.stderr)


def _in_hub_cache(repository: str, files: Iterable[str], cache_dir: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file, cache_dir=cache_dir) for file in files)
    return any(isinstance(path, str) for path in found)
