"""Weights from a network: the source is named, and a silent server is noticed at once.

Without a network, the libraries would retry for a minute, even for cached files.
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

HUB = "hf-hub:"
"""Prefix of a model that is named by its repository on Hugging Face."""
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of OpenCLIP's weights in a repository of Hugging Face."""
TIMEOUT = 3.0
"""Seconds within which each address of a server must answer."""
PORTS = {"https": 443, "http": 80}
FIX = "without a network give a file or folder; a proxy is taken from HTTPS_PROXY"


@contextlib.contextmanager
def downloading(
    model_name: str, pretrained: str | None, cache_dir: str | None = None
) -> Iterator[None]:
    """Let a block load weights; those of a tag are downloaded where the cache lacks them.

    Args:
        model_name: A model of OpenCLIP or of ours, or ``hf-hub:REPOSITORY``.
        pretrained: The tag of its weights; a file, or ``None``, takes no network.
        cache_dir: Folder of what OpenCLIP downloads; ``None``: its default.

    Raises:
        UserError: Exit 3 when they are not in the cache and their server does not answer, or
            when they are elsewhere than on Hugging Face and its library is offline.
    """
    import open_clip  # not at the top: other encoders do not need it

    weights = f"the weights {pretrained} of {model_name}"
    source = (open_clip.get_pretrained_cfg(model_name, pretrained) if pretrained else None) or {}
    repository, _, file = source.get("hf_hub", "").rpartition("/")
    if model_name.startswith(HUB):
        with fetching(model_name.removeprefix(HUB), ["open_clip_config.json"], cache_dir):
            yield
    elif repository:
        files = (file, f"{Path(file).stem}.safetensors") if file else FILES
        with fetching(repository, files, cache_dir, what=f"{weights} from Hugging Face, "):
            yield
    else:
        if address := source.get("url", ""):
            folder = Path(cache_dir or "~/.cache/clip").expanduser()
            _check_server(weights, address, folder / os.path.basename(address))
        yield


@contextlib.contextmanager
def fetching(
    repository: str, files: Iterable[str], cache_dir: str | None = None, what: str = ""
) -> Iterator[None]:
    """Let a block load what is on Hugging Face, and is fetched where the hub's cache lacks it.

    Where the hub does not answer, the block takes what the cache has, without asking again.

    Args:
        repository: Its name on Hugging Face.
        files: Files of which a fetched repository has one.
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
    """Keep Hugging Face's library from using the network.

    It raises an error for a file that its cache lacks. Otherwise it asks even for cached files
    whether there are newer ones. Its environment variable (HF_HUB_OFFLINE) is read at import, which
    may have happened.
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


def _check_server(weights: str, address: str, file: Path) -> None:
    """Refuse weights behind a URL that are not in the cache and cannot be downloaded."""
    if file.is_file():
        return
    if is_offline():  # OpenCLIP would download them all the same
        raise bad_input(f"{weights} are not on this machine", where=address, fix=FIX)
    _announce(f"{weights} from {address}")
    if reason := _silence(address):
        raise _no_answer(address, reason)


def _announce(what: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # of several processes, one
        print(f"fetching {what}", file=sys.stderr)


def _silence(address: str) -> str:
    """Return why a server cannot be reached, or an empty string where it or a proxy may answer."""
    parts = urlsplit(address if "//" in address else f"https://{address}")
    host, proxies = str(parts.hostname), urllib.request.getproxies()
    has_proxy = parts.scheme in proxies or "all" in proxies
    if has_proxy and not urllib.request.proxy_bypass(host):  # it may reach what we do not
        return ""
    try:
        port = parts.port or PORTS.get(parts.scheme, PORTS["https"])
        socket.create_connection((host, port), timeout=TIMEOUT).close()
    except (OSError, ValueError) as error:  # no address, no answer, or no name of a host
        return str(error)
    return ""


def _no_answer(address: str, reason: str) -> UserError:
    return bad_input(f"{urlsplit(address).hostname or address} does not answer: {reason}", fix=FIX)


def _in_hub_cache(repository: str, files: Iterable[str], cache_dir: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(repository, file, cache_dir=cache_dir) for file in files]
    except HFValidationError:  # no name of a repository; the library says so when it loads
        return False
    return any(isinstance(path, str) for path in found)
