"""Small demonstration data, and readers of it."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from hardpairs.demo.options import DemoOptions


def scene_options(**changes: object) -> DemoOptions:
    return DemoOptions(**{"kind": "scenes", "pairs": 30, "views": 2, "seed": 0, **changes})


def read_table(path: Path) -> list[list[str]]:
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    assert header == "caption\turl\tgroup"
    return [line.split("\t") for line in lines]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def vendor_folder(folder: Path, layout: str, mode: str = "RGBA") -> Path:
    stems = {"1F34C": "banana", "1F6B2": "bicycle", "1F47B": "ghost"}
    pictures = folder / ("img/google/64" if layout == "emoji.json" else ".")
    pictures.mkdir(parents=True)
    for number, stem in enumerate(stems):
        Image.new(
            mode,
            (64, 64),
            40 + 60 * number if mode in "LAP" else (250, 60 * number, 30, 255)[: len(mode)],
        ).save(pictures / f"{stem.lower()}.png")
    if layout == "emoji.json":
        content = [
            {"unified": stem, "image": f"{stem.lower()}.png", "has_img_google": True}
            for stem in stems
        ]
        content.append({"unified": "1F600", "image": "gone.png", "has_img_google": False})
    else:
        content = {f"{stem.lower()}.png": name for stem, name in stems.items()}
    (folder / layout).write_text(json.dumps(content))
    return folder
