"""Arrays that are costly to make and the same for every run, stored beside their source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core import progress

FOLDER = "batching"


def made_once(
    beside: Path, name: str, recipe: dict[str, Any], make: Callable[[], np.ndarray]
) -> np.ndarray:
    """Return the array of ``beside/batching/<name>-<hash of the recipe>.npy``, made if need be.

    Args:
        beside: The folder of what the array follows from.
        name: What the array is.
        recipe: JSON values that the array follows from: hashes of what is read, options.
        make: Returns the array.
    """
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    return progress.made_once(beside / FOLDER / f"{name}-{digest}.npy", make)
