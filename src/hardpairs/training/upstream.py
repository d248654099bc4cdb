"""Every name of OpenCLIP's trainer that we rely on, in one place, with its version.

``open_clip_train`` is taken from beside this package: the tree that ``python -m tools.apply_patches`` made, or a user's own clone.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from hardpairs.core.errors import mismatch

VERSION = "3.3.0"
_PARENT = Path(__file__).resolve().parents[2]


def patched(name: str) -> ModuleType:
    """A module of the patched trainer, such as ``main`` or ``data``.

    Raises:
        UserError: exit 4 when there is no patched tree.
    """
    if not (_PARENT / "open_clip_train" / "main.py").is_file():
        raise mismatch(
            "there is no patched OpenCLIP trainer",
            where=str(_PARENT / "open_clip_train"),
            fix="python -m tools.apply_patches",
        )
    if sys.path[0] != str(_PARENT):
        sys.path.insert(0, str(_PARENT))  # before site-packages, which holds the unpatched one
    module = importlib.import_module(f"open_clip_train.{name}")
    if not Path(str(module.__file__)).is_relative_to(_PARENT):
        raise mismatch(
            "another open_clip_train was imported first",
            where=str(module.__file__),
            fix="start with python -m training.main",
        )
    return module


def world_info() -> tuple[int, int]:
    """(rank, world_size) that the launcher announced in the environment, by OpenCLIP's own rule."""
    distributed = patched("distributed")
    if not distributed.is_using_distributed():
        return 0, 1
    _, rank, world_size = distributed.world_info_from_env()
    return rank, world_size
