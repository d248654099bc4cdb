"""Packages of npm, Debian and PyPI: fetched by the registry's own client, checked, and read.

A package is looked for in a folder first, so that a machine without a network can be given its
file. No package is installed, and no code of one is run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardpairs.core.errors import UserError, bad_input, mismatch
from hardpairs.data.manifest import sha256_file

CLIENTS = {
    "npm": ("npm", "pack", "--loglevel=error", "--ignore-scripts", "{name}@{version}"),
    "Debian": ("apt-get", "download", "--quiet", "{name}={version}"),
    "PyPI": (
        *("pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"),
        "{name}=={version}",
    ),
}
"""By registry: the command that puts a package's file into the working folder."""

_WARNING = re.compile(r"\s*(W:|WARNING|npm warn|npm error A complete log)", re.IGNORECASE)


@dataclass(frozen=True)
class Package:
    """A package of one version, and the bytes that it must have.

    Attributes:
        registry: ``npm``, ``Debian`` or ``PyPI``.
        name: Its name.
        version: Its version.
        file: The name of its file, as the registry's client writes it.
        sha256: The hash of that file.
    """

    registry: str
    name: str
    version: str
    file: str
    sha256: str

    @property
    def command(self) -> list[str]:
        """Return the command line that downloads the file into the working folder."""
        return [
            part.format(name=self.name, version=self.version) for part in CLIENTS[self.registry]
        ]


Archives = Mapping[str, Path]
"""Files of packages by name of the package."""


def default_folder() -> Path:
    """Return the folder in the user's cache where packages are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "openclip-hardpairs" / "packages"


def fetch_packages(packages: Iterable[Package], folder: Path) -> dict[str, Path]:
    """Return the files of packages by name of the package; download those that are missing.

    Args:
        packages: What is needed.
        folder: Where files are looked for and kept.

    Raises:
        UserError: Exit 3 when a package cannot be had, exit 4 when its bytes are not the ones that
            were pinned.
    """
    return {package.name: _fetch(package, folder) for package in packages}


def _fetch(package: Package, folder: Path) -> Path:
    path = folder / package.file
    if path.is_file():
        return _checked(path, package)
    print(f"fetching {package.name} {package.version} from {package.registry}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch.") as temporary:
        _download(package, Path(temporary))
        files = [file for file in Path(temporary).iterdir() if file.is_file()]
        if len(files) != 1:
            raise _not_had(package, folder, f"the client left {len(files)} files")
        _checked(files[0], package)
        os.replace(files[0], path)
    return path


def _download(package: Package, folder: Path) -> None:
    command = package.command
    if command[0] == "pip":
        command = [sys.executable, "-m", *command]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        raise _not_had(package, folder.parent, f"{command[0]} is not installed here") from None
    if done.returncode:
        raise _not_had(package, folder.parent, _reason(done.stderr or done.stdout))


def _reason(output: str) -> str:
    """Return the first lines of a client's output that are no warnings."""
    lines = [line.strip() for line in output.splitlines() if not _WARNING.match(line)]
    return " ".join(filter(None, lines))[:200] or "it gave no reason"


def _not_had(package: Package, folder: Path, reason: str) -> UserError:
    return bad_input(
        f"the {package.registry} package {package.name} {package.version} cannot be had: {reason}",
        where=str(folder / package.file),
        fix=f"run `{' '.join(package.command)}` where there is a network, and put "
        f"{package.file} into {folder}",
    )


def _checked(path: Path, package: Package) -> Path:
    found = sha256_file(path)
    if found != package.sha256:
        raise mismatch(
            f"{package.file} is not the file of {package.name} {package.version} that was pinned: "
            f"its sha256 is {found[:16]}..., not {package.sha256[:16]}...",
            where=str(path),
            why="other data under the same name would give other results",
            fix="remove the file and run the command again",
        )
    return path


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each file in a package, without writing it to disk.

    Raises:
        UserError: Exit 3 when a Debian package is read where there is no ``dpkg-deb``.
    """
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as content:
            for name in content.namelist():
                yield name, content.read(name)
    elif archive.suffix == ".deb":
        yield from _debian_members(archive)
    else:
        with tarfile.open(archive, "r:gz") as content:
            yield from _tar_members(content)


def _debian_members(archive: Path) -> Iterator[tuple[str, bytes]]:
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with tempfile.TemporaryFile() as file:  # not a pipe: links point back
        try:
            subprocess.run(command, stdout=file, stderr=subprocess.PIPE, check=True)
        except FileNotFoundError:
            raise bad_input(
                "a Debian package cannot be read: dpkg-deb is not installed here",
                where=str(archive),
                fix="install dpkg",
            ) from None
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as content:
            yield from _tar_members(content)


def _tar_members(content: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a tar. A link within it is a file, too; others are passed over."""
    for member in content:
        with contextlib.suppress(KeyError):
            file = content.extractfile(member)
            if file is not None:
                yield member.name.removeprefix("./"), file.read()


def read_json(content: bytes) -> Any:
    """Return the JSON value in a member."""
    return json.loads(content.decode("utf-8"))
