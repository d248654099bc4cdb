"""Weights from a network: the source is named, and a silent server is noticed at once.

Without a network the libraries would try again and again for a minute, also for what they have.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from hardpairs.core.errors import UserError, bad_input

FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of OpenCLIP's weights in a repository of Hugging Face."""
TIMEOUT = 10.0
"""Seconds within which a server must answer."""
PORTS = {"https": 443, "http": 80}


@contextlib.contextmanager
def downloading(model_name: str, tag: str, cache_dir: str | None = None) -> Iterator[None]:
    """Let a block load the weights of a tag, which are downloaded where the cache lacks them.

    Args:
        model_name: A model of OpenCLIP.
        tag: The tag of its weights.
        cache_dir: Folder of what OpenCLIP downloads; ``None``: its default.

    Raises:
        UserError: Exit 3 when they are not in the cache and their server does not answer, or
            when they are elsewhere than on Hugging Face and its library is offline.
    """
    import open_clip  # not at the top: other encoders do not need it

    weights = f"the weights {tag} of {model_name}"
    source = open_clip.get_pretrained_cfg(model_name, tag) or {}
    repository, _, file = source.get("hf_hub", "").rpartition("/")
    if repository:
        files = (file,) if file else FILES
        with fetching(repository, files, cache_dir, what=f"{weights} from Hugging Face, "):
            yield
        return
    address = source.get("url", "")
    folder = Path(cache_dir or "~/.cache/clip").expanduser()
    if address and not (folder / os.path.basename(address)).is_file():
        if is_offline():  # OpenCLIP would download them all the same
            raise bad_input(f"{weights} are not on this machine", where=address, fix=_fix())
        _announce(f"{weights} from {address}")
        if reason := _silence(address):
            raise _no_answer(address, reason)
    yield


@contextlib.contextmanager
def fetching(
    repository: str, files: Iterable[str], cache_dir: str | None = None, what: str = ""
) -> Iterator[None]:
    """Let a block load a model of Hugging Face, which is fetched where the hub's cache lacks it.

    Where the hub does not answer, the block takes what the cache has, without asking again.

    Args:
        repository: Its name on Hugging Face.
        files: Files of which a fetched model has one.
        cache_dir: Folder of the cache; ``None``: the hub's default.
        what: Stands before the repository's name in the announcement.

    Raises:
        UserError: Exit 3 when the cache has none of the files and the hub does not answer.
    """
    from huggingface_hub import constants

    if is_offline():
        yield
        return
    cached = _in_hub_cache(repository, files, cache_dir)
    if not cached:
        _announce(f"{what}{repository}" if what else f"{repository} from Hugging Face")
    reason = _silence(constants.ENDPOINT)
    if reason and not cached:
        raise _no_answer(constants.ENDPOINT, reason)
    with offline() if reason else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Keep Hugging Face's library from using the network; it raises what its cache lacks.

    Otherwise it asks even for cached files whether there are newer ones. Its environment variable
    (HF_HUB_OFFLINE) is read at import, which may have happened.
    """
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def is_offline() -> bool:
    """Return whether Hugging Face's library is told not to use the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _announce(what: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # of several processes, one
        print(f"fetching {what}", file=sys.stderr)


def _silence(address: str) -> str:
    """Return why a server cannot be reached; nothing where it or a proxy may answer."""
    if urllib.request.getproxies():  # a proxy may reach what this machine does not
        return ""
    parts = urlsplit(address)
    try:
        port = parts.port or PORTS[parts.scheme]
        socket.create_connection((str(parts.hostname), port), timeout=TIMEOUT).close()
    except OSError as error:
        return str(error)
    return ""


def _no_answer(address: str, reason: str) -> UserError:
    return bad_input(f"{urlsplit(address).hostname} does not answer: {reason}", fix=_fix())


def _fix() -> str:
    return "without a network give a file or folder; a proxy is taken from HTTPS_PROXY"


def _in_hub_cache(repository: str, files: Iterable[str], cache_dir: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file, cache_dir=cache_dir) for file in files)
    return any(isinstance(path, str) for path in found)
