"""States between the ends of epochs: copied between two steps, written beside the training."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from hardpairs.models.checkpoint import load_checkpoint, mapped
from hardpairs.models.weight_files import save_checkpoint

LATEST = "epoch_latest.pt"
"""File of the newest state: OpenCLIP's own name for the newest checkpoint."""
STEP = "step"
"""Entry of such a state: optimizer steps of the epoch that are done."""


def copied(value: Any) -> Any:
    """Return nested dictionaries and lists with copies of their tensors on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: copied(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(part) for part in value)
    return value


def is_amid(path: Path) -> bool:
    """Return whether a file holds a state of ours, and no checkpoint of OpenCLIP's."""
    with mapped(path):
        return STEP in load_checkpoint(path)


class StateWriter:
    """Write the states of a run, one at a time, in a thread.

    Args:
        path: The file.
        every_steps: Steps of the run between two states; ``None``: no matter how many.
        every_minutes: Minutes between two states; ``None``: no matter how many.
    """

    def __init__(
        self, path: Path, every_steps: int | None = None, every_minutes: float | None = None
    ) -> None:
        self.path = path
        self._every_steps, self._every_minutes = every_steps, every_minutes
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._steps, self._began = 0, time.monotonic()

    def note_saved(self) -> None:
        """Count steps and minutes from now on: a checkpoint holds what was trained."""
        self._steps, self._began = 0, time.monotonic()

    def after_step(self, state: Callable[[], dict[str, Any]]) -> None:
        """Write the state after a step if it is time; a state that is being written comes first.

        Args:
            state: Returns the state, whose tensors are copied before this returns.

        Raises:
            OSError: The last state could not be written.
        """
        self._raise_error()
        self._steps += 1
        if self._is_time() and not self._is_writing():
            self.note_saved()
            began = time.perf_counter()
            content = copied(state())
            logging.info(f"State copied in {time.perf_counter() - began:.3f} s.")
            self._thread = threading.Thread(target=self._write, args=(content,))
            self._thread.start()

    def write_now(self, state: dict[str, Any]) -> Path:
        """Write a state, and return the file when it is on disk."""
        self.wait()
        save_checkpoint(state, self.path)
        return self.path

    def wait(self) -> None:
        """Wait until what is being written is on disk.

        Raises:
            OSError: It could not be written.
        """
        if self._thread is not None:
            self._thread.join()
        self._raise_error()

    def _is_time(self) -> bool:
        by_steps = self._every_steps is not None and self._steps >= self._every_steps
        minutes = (time.monotonic() - self._began) / 60
        return by_steps or (self._every_minutes is not None and minutes >= self._every_minutes)

    def _is_writing(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _write(self, content: dict[str, Any]) -> None:
        try:
            save_checkpoint(content, self.path)
        except BaseException as error:
            self._error = error

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
