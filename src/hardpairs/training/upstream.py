"""Every name of OpenCLIP's trainer that we rely on, in one place.

The patched ``open_clip_train`` lies where ``hardpairs.patching.targets.trainer_folder`` says.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from hardpairs.core.errors import mismatch
from hardpairs.patching.targets import make_trainer

if TYPE_CHECKING:
    from torch import nn

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


def model_of(trained: nn.Module) -> nn.Module:
    """Return the model in what the trainer trains, without wrappers.

    Args:
        trained: A model; of OpenCLIP's main a task, which holds it.
    """
    model: Any = getattr(trained, "trainable_module", trained)
    for wrapped in ("module", "_orig_mod"):  # of several processes, of torch.compile
        model = getattr(model, wrapped, model)
    return cast("nn.Module", model)


def saved_module(trained: nn.Module) -> nn.Module:
    """Return the module whose state a checkpoint of the trainer has.

    Args:
        trained: A model, which is saved in the wrapper for several processes; of main a task, whose
            model is saved without.
    """
    if hasattr(trained, "trainable_module"):
        return model_of(trained)
    return cast("nn.Module", getattr(trained, "_orig_mod", trained))


def world_info() -> tuple[int, int]:
    """(rank, world_size) that the launcher announced in the environment, by OpenCLIP's own rule.

    OpenCLIP's function is in a module that imports PyTorch, and a wrong flag is refused before.
    """
    announced = _number(("WORLD_SIZE", "SLURM_NTASKS"), 1)
    if announced <= 1:
        return 0, 1
    return _number(RANKS, 0), _number(WORLD_SIZES, 1)


RANKS = ("RANK", "PMI_RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
"""Variables of launchers, in the order in which OpenCLIP looks for them."""


def _number(names: tuple[str, ...], otherwise: int) -> int:
    return next((int(os.environ[name]) for name in names if name in os.environ), otherwise)
