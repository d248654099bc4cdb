"""What happens before weights are downloaded: the source is named, and must answer.

Without a network the libraries would try again and again for a minute.
"""

from __future__ import annotations

import os
import socket
import sys
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from hardpairs.core.errors import bad_input

FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of OpenCLIP's weights in a repository of Hugging Face."""
TIMEOUT = 10.0
"""Seconds within which a server must answer."""
PORTS = {"https": 443, "http": 80}


def before_download(model_name: str, tag: str, cache_dir: str | None = None) -> None:
    """Name the weights that are about to be downloaded, where they are not in the cache.

    Args:
        model_name: A model of OpenCLIP.
        tag: The tag of its weights.
        cache_dir: Folder of what OpenCLIP downloads; ``None``: its default.

    Raises:
        UserError: Exit 3 when their server does not answer, or when Hugging Face's library is
            offline and they are elsewhere.
    """
    import open_clip  # not at the top: other encoders do not need it

    weights = f"the weights {tag} of {model_name}"
    source = open_clip.get_pretrained_cfg(model_name, tag)
    repository, _, file = source.get("hf_hub", "").rpartition("/")
    if repository:
        before_fetch(repository, (file,) if file else FILES, cache_dir, what=weights)
    elif address := source.get("url"):
        folder = Path(cache_dir or "~/.cache/clip").expanduser()
        if (folder / os.path.basename(address)).is_file():
            return
        if _offline():  # OpenCLIP would download them all the same
            raise bad_input(f"{weights} are not on this machine", where=address, fix=_fix())
        _announce(weights, address, address)


def before_fetch(
    repository: str, files: Iterable[str], cache_dir: str | None = None, what: str = ""
) -> None:
    """Name the model that is about to be fetched, where it is not in the hub's cache.

    Args:
        repository: Its name on Hugging Face.
        files: Files of which a fetched model has one.
        cache_dir: Folder of the cache; ``None``: the hub's default.
        what: What it is called; by default the repository.

    Raises:
        UserError: Exit 3 when the hub does not answer.
    """
    from huggingface_hub import constants

    if not _offline() and not _in_hub_cache(repository, files, cache_dir):
        origin = f"Hugging Face, {repository}" if what else "Hugging Face"
        _announce(what or repository, origin, constants.ENDPOINT)


def _announce(what: str, origin: str, address: str) -> None:
    print(f"fetching {what} from {origin}", file=sys.stderr)
    parts = urlsplit(address)
    if urllib.request.getproxies():  # a proxy may reach what this machine does not
        return
    try:
        port = parts.port or PORTS[parts.scheme]
        socket.create_connection((str(parts.hostname), port), timeout=TIMEOUT).close()
    except OSError as error:
        message = f"{parts.hostname} does not answer: {error}"
        raise bad_input(message, where=what, fix=_fix()) from None


def _fix() -> str:
    return "without a network give a file or folder; a proxy is taken from HTTPS_PROXY"


def _offline() -> bool:
    """Return whether Hugging Face's library is told not to use the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _in_hub_cache(repository: str, files: Iterable[str], cache_dir: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file, cache_dir=cache_dir) for file in files)
    return any(isinstance(path, str) for path in found)
