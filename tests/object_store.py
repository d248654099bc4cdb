"""A store in this process's memory, whose objects appear whole, as those of S3 do."""

from __future__ import annotations

from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from upath import UPath

from hardpairs.core.remote_writing import output_folder


def make_store(name: str, monkeypatch: pytest.MonkeyPatch) -> UPath:
    """Return an empty place; fsspec's own files in memory appear as soon as they are opened."""
    original = MemoryFileSystem._open

    def opened(self: Any, path: str, mode: str = "rb", autocommit: bool = True, **more: Any) -> Any:
        if autocommit or mode != "wb":
            return original(self, path, mode, **more)
        return MemoryFile(self, path)

    monkeypatch.setattr(MemoryFileSystem, "_open", opened)
    place = output_folder(f"memory://{name}")
    assert isinstance(place, UPath)
    return place
