"""Which checkpoints of whole epochs a run keeps."""

from __future__ import annotations

import re
from pathlib import Path


def keep_newest(folder: Path, count: int | None) -> None:
    """Remove the oldest ``epoch_N.pt`` of a run.

    Args:
        folder: The run's checkpoints.
        count: Files that are kept; ``None``: all.
    """
    if count is None:
        return
    names = {path: re.fullmatch(r"epoch_(\d+)\.pt", path.name) for path in folder.glob("epoch_*")}
    epochs = sorted((int(name[1]), path) for path, name in names.items() if name)
    for _, path in epochs[:-count]:
        path.unlink(missing_ok=True)
