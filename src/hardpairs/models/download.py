"""What is said before weights are downloaded: without a network the attempt takes a minute."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import open_clip

FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of OpenCLIP's weights in a repository of Hugging Face."""


def announce_download(model_name: str, tag: str, cache_dir: str | None = None) -> None:
    """Print to stderr which weights are about to be fetched, where they are not in the cache.

    Args:
        model_name: A model of OpenCLIP.
        tag: The tag of its weights.
        cache_dir: Folder of what OpenCLIP downloads; ``None``: its default.
    """
    source = open_clip.get_pretrained_cfg(model_name, tag)
    repository, _, file = source.get("hf_hub", "").rpartition("/")
    if repository:
        origin, cached = f"Hugging Face, {repository}", _in_hub_cache(repository, file, cache_dir)
    elif source.get("url"):
        origin = source["url"]
        folder = Path(cache_dir or "~/.cache/clip").expanduser()
        cached = (folder / os.path.basename(origin)).is_file()
    else:
        return
    if not cached and not os.environ.get("HF_HUB_OFFLINE"):
        print(f"fetching the weights {tag} of {model_name} from {origin}", file=sys.stderr)


def _in_hub_cache(repository: str, file: str, cache_dir: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    names = (file,) if file else FILES
    return any(
        isinstance(try_to_load_from_cache(repository, name, cache_dir=cache_dir), str)
        for name in names
    )
