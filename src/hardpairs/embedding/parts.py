"""Embeddings that are on their way: finished parts of a fixed number of rows, so that a killed run goes on with the next one.

``OUT/.unfinished/`` holds a key (what the parts belong to) and ``part_00000000.npz``... each whole or absent. A part is a fixed range of
dataset rows, cut into fixed batches: what is in it does not depend on who made it, nor on what was made before.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import atomic_open, write_json
from hardpairs.core.errors import mismatch
from hardpairs.embedding.stream import Embedded

FOLDER = ".unfinished"


class Parts:
    """Parts of ``count`` rows, ``size`` rows each, made in batches of ``batch_size`` (products of other shapes round otherwise).

    Args:
        out: the folder of the embeddings.
        recipe: JSON values that say what the parts belong to.
    """

    def __init__(
        self, out: Path, recipe: dict[str, Any], count: int, size: int, batch_size: int
    ) -> None:
        self.out, self.folder = out, out / FOLDER
        self.key = json.loads(json.dumps({**recipe, "part_rows": size, "batch_size": batch_size}))
        self.count, self.size = count, size

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def rows(self, number: int) -> range:
        return range(number * self.size, min((number + 1) * self.size, self.count))

    def claim(self) -> bool:
        """Makes the folder ours; whether there was work of ours in it.

        Raises:
            UserError: exit 4 when the folder holds unfinished work of another kind, or embeddings that nobody says are ours.
        """
        begun = any(self.folder.glob("part_*.npz"))
        if begun or (self.folder / "key.json").exists():
            self._check()
            return begun
        if any(self.out.glob("*_emb/*.npy")):
            raise mismatch(
                "the folder holds embeddings that were made elsewhere",
                where=str(self.out),
                fix="choose another output folder",
            )
        write_json(self.folder / "key.json", self.key)
        return False

    def _check(self) -> None:
        try:
            there = json.loads((self.folder / "key.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            there = {}
        there.setdefault("first_image", self.key.get("first_image"))  # older work does not say it
        differing = sorted(
            name for name in {*there, *self.key} if there.get(name) != self.key.get(name)
        )
        if differing:
            raise mismatch(
                f"the folder holds unfinished embeddings of another kind: {', '.join(differing)} "
                f"differ{'s' if len(differing) == 1 else ''}",
                where=str(self.folder),
                fix="go on with the same data, encoders, batches and parts; or choose another output folder, or delete this one",
            )

    def unfinished(self) -> list[int]:
        return [number for number in range(len(self)) if not self._path(number).exists()]

    def save(self, number: int, part: Embedded) -> None:
        reasons = np.frombuffer(
            json.dumps({str(row): reason for row, reason in part.rejected.items()}).encode(),
            np.uint8,
        )
        with atomic_open(self._path(number)) as file:
            np.savez(file, image=part.image, text=part.text, rows=part.rows, rejected=reasons)  # type: ignore[arg-type]

    def load(self, number: int, *names: str) -> dict[str, Any]:
        """Arrays of a part by name; ``rejected`` is a dict."""
        path = self._path(number)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found: dict[str, Any] = {name: arrays[name] for name in names}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise mismatch(
                f"a damaged part: {error}",
                where=str(path),
                fix="delete it; the same command makes it again",
            ) from None
        if "rejected" in found:
            found["rejected"] = {
                int(row): reason
                for row, reason in json.loads(found["rejected"].tobytes() or b"{}").items()
            }
        return found

    def loaded(self, *names: str) -> Iterator[dict[str, Any]]:
        """All parts in order; none is held here once it is given away."""
        return (self.load(number, *names) for number in range(len(self)))

    def clear_torn(self) -> None:
        """Takes away what a kill left half written; it can be as large as the whole output."""
        for path in self.out.glob("*/.*.tmp"):
            path.unlink()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"part_{number:08d}.npz"
