"""Paths of a command line, checked before anything heavy is imported."""

from __future__ import annotations

import os

from hardpairs.core.errors import usage
from hardpairs.core.remote import is_url

WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
"""Ends of the names of checkpoint files; a tag of OpenCLIP has none of them."""
PATTERN = frozenset("*?[{:")


def check_exists(path: str | os.PathLike[str], kind: str = "file or folder") -> None:
    """Refuse a path where there is nothing. URLs and patterns are left to those who read them.

    Args:
        path: The path.
        kind: What should be there.

    Raises:
        UserError: Exit 2.
    """
    name = os.fspath(path)
    if not (is_url(name) or PATTERN & set(name) or os.path.exists(name)):
        raise usage(f"no such {kind}", where=name, fix="check the path")


def check_weights(pretrained: str | None) -> None:
    """Refuse the name of a checkpoint file that does not exist.

    Args:
        pretrained: The file, or a tag of OpenCLIP, which is not checked here.

    Raises:
        UserError: Exit 2.
    """
    if pretrained and pretrained.lower().endswith(WEIGHTS):
        check_exists(pretrained, "checkpoint")
