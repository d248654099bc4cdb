"""Every name of OpenCLIP's trainer that we rely on, in one place, with its version.

The patched ``open_clip_train`` lies where ``hardpairs.patching.targets.trainer_folder`` says.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from hardpairs.core.errors import mismatch
from hardpairs.patching.targets import make_trainer

VERSION = "3.3.0"
_trainer = cache(make_trainer)
"""Once per process: the trainer may not change below a run."""


def patched(name: str) -> ModuleType:
    """A module of the patched trainer, such as ``main`` or ``data``.

    Raises:
        UserError: exit 4 when another ``open_clip_train`` was imported first.
    """
    parent = _trainer().parent
    if sys.path[0] != str(parent):
        sys.path.insert(0, str(parent))  # before site-packages, which holds the unpatched one
    module = importlib.import_module(f"open_clip_train.{name}")
    if not Path(str(module.__file__)).is_relative_to(parent):
        raise mismatch(
            "another open_clip_train was imported first",
            where=str(module.__file__),
            fix="start with hardpairs train",
        )
    return module


def world_info() -> tuple[int, int]:
    """(rank, world_size) that the launcher announced in the environment, by OpenCLIP's own rule."""
    distributed = patched("distributed")
    if not distributed.is_using_distributed():
        return 0, 1
    _, rank, world_size = distributed.world_info_from_env()
    return rank, world_size
