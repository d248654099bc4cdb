"""Arrays that are costly to make and the same for every rank and run: made once, kept beside what they were made from."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import atomic_open

FOLDER = "batching"


def made_once(
    beside: Path, name: str, recipe: dict[str, Any], make: Callable[[], np.ndarray]
) -> np.ndarray:
    """The array that ``make`` returns, from ``beside/batching/<name>-<hash of the recipe>.npy`` where it is there already.

    Ranks of one machine wait for the first of them. In a folder that cannot be written to, each makes its own.

    Args:
        recipe: JSON values that the array follows from: hashes of what is read, options.
    """
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    path = beside / FOLDER / f"{name}-{digest}.npy"
    if path.is_file():
        return np.load(path, mmap_mode="r", allow_pickle=False)
    try:
        path.parent.mkdir(exist_ok=True)
        lock = os.open(path.parent, os.O_RDONLY)
    except OSError:
        return make()
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            array = make()
            try:
                with atomic_open(path) as file:
                    np.save(file, array)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise
                return array
        return np.load(path, mmap_mode="r", allow_pickle=False)
    finally:
        os.close(lock)  # which ends the lock
