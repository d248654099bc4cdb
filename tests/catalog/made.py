"""Small packages of npm, Debian and PyPI with a few drawings, and the folders that hold them."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from PIL import Image

from hardpairs.catalog.packages import Package
from hardpairs.catalog.sets import DataSet, find_set
from hardpairs.data.manifest import sha256_file

BOX = '<rect x="{0}" y="2" width="{1}" height="20" fill="currentColor"/>'


def npm_package(path: Path, files: Mapping[str, object]) -> Path:
    """A tarball as npm packs it: every file below ``package/``; values are bytes, or become JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, value in files.items():
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def wheel(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as content:
        for name, data in files.items():
            content.writestr(name, data)
    return path


def debian_package(
    path: Path, files: Mapping[str, bytes], folder: Path, links: Mapping[str, str] | None = None
) -> Path:
    """A package as dpkg builds it. ``links`` are symbolic ones."""
    name, version = path.name.split("_")[:2]
    (folder / "DEBIAN").mkdir(parents=True)
    (folder / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: {version.replace('%3a', ':')}\nArchitecture: all\n"
        "Maintainer: nobody <nobody@example.org>\nDescription: made in a test\n"
    )
    for file, data in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
    for link, target in (links or {}).items():
        (folder / link).symlink_to(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["dpkg-deb", "--root-owner-group", "-b", str(folder), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def png(color: str, size: tuple[int, int] = (20, 10)) -> bytes:
    """A block of a color in the middle of an empty page twice its size."""
    page = Image.new("RGBA", (2 * size[0], 2 * size[1]))
    page.paste(Image.new("RGBA", size, color), (size[0] // 2, size[1] // 2))
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def icon_set(names: list[str], start: int = 1) -> dict:
    """An Iconify set whose drawings differ."""
    icons = {
        name: {"body": BOX.format(1 + number % 5, start + number)}
        for number, name in enumerate(names)
    }
    return {"prefix": "x", "icons": icons, "width": 24, "height": 24}


def facts(total: int, category: str = "UI 24px", license: str = "MIT", **more: object) -> dict:
    return {
        "name": "A set",
        "total": total,
        "author": {"name": "Somebody", "url": "https://example.org"},
        "license": {"title": license, "spdx": license, "url": "https://example.org/license"},
        "category": category,
        **more,
    }


def icons_package(folder: Path, **sets: list[str]) -> DataSet:
    """The data set ``icons`` with a package of these sets, which is in the folder."""
    content: dict[str, object] = {
        f"json/{prefix}.json": icon_set(names, 1 + 3 * number)
        for number, (prefix, names) in enumerate(sets.items())
    }
    content["collections.json"] = {prefix: facts(len(names)) for prefix, names in sets.items()}
    return with_package(
        find_set("icons"), npm_package(folder / "iconify-json-2.2.535.tgz", content)
    )


def with_package(data: DataSet, path: Path) -> DataSet:
    """A data set whose first package is this file."""
    package = replace(data.packages[0], file=path.name, sha256=sha256_file(path))
    return replace(data, packages=(package, *data.packages[1:]))


def pinned(path: Path, registry: str, name: str, version: str) -> Package:
    return Package(registry, name, version, path.name, sha256_file(path))
