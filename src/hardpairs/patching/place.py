"""Folders put in place whole: staged beside the old one, then exchanged with it in one step.

The kernel exchanges two folders atomically (``renameat2`` on Linux), so whoever looks sees all of the old tree or all of the new
one. Where a file system has no exchange, the old folder is moved away first; a kill in between is healed by the next run.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import Exit, UserError

MANIFEST = ".hardpairs.json"

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one run works on a folder and beside it at a time; the lock ends with the process, however that ends.

    Raises:
        UserError: for a folder that can't be written.
    """
    handle = os.open(folder.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if folder.exists() and not os.access(folder, os.W_OK, effective_ids=True):
            raise PermissionError(
                errno.EACCES, os.strerror(errno.EACCES), str(folder)
            )  # an exchange would get round it
        yield
    except OSError as error:
        if error.errno not in (
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
            errno.EXDEV,
        ):  # EXDEV: a folder of a container's lower layer
            raise
        raise UserError(
            Exit.RESOURCES,
            f"cannot write here: {error.strerror}",
            where=str(error.filename or folder),
            why="the tree is as it was",
            fix="make the folder writable, or copy the clone and name the copy with --target",
        ) from error
    finally:
        os.close(handle)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_tree(folder: Path) -> dict[str, bytes]:
    """All files under a folder by path, but for Python's caches and our manifest."""
    paths = (
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    )
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in paths
        if path.name != MANIFEST
    }


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What an earlier run noted in a folder that it made; None for a folder that is not ours."""
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def edited_files(folder: Path, hashes: dict[str, str]) -> list[str]:
    """Files under a folder of ours that are not as we put them there: changed, missing or new."""
    found = {name: sha256(content) for name, content in read_tree(folder).items()}
    return sorted(
        name for name in found.keys() | hashes.keys() if found.get(name) != hashes.get(name)
    )


def recover(folder: Path) -> None:
    """Ends what a killed run began: brings back a tree that was moved away, and clears what was staged."""
    if retired(folder).exists() and not folder.exists():
        os.rename(retired(folder), folder)
    for leftover in (_staged(folder), retired(folder)):
        if leftover.exists():
            shutil.rmtree(leftover)


def put(
    folder: Path,
    files: dict[str, bytes],
    manifest: dict[str, Any] | None,
    *,
    keep: Path | None = None,
) -> None:
    """Puts a folder in place with these files and this manifest.

    Args:
        folder: where; an older one is replaced.
        files: the files to write, by path.
        manifest: noted in the folder; None leaves none there.
        keep: a folder whose other files stay the very same files (hard links, so owner and times stay too).
    """
    staged = _staged(folder)
    try:
        if keep:
            shutil.copytree(
                keep,
                staged,
                symlinks=True,
                copy_function=_link,
                ignore=shutil.ignore_patterns("__pycache__", MANIFEST),
            )
        staged.mkdir(exist_ok=True)
        if manifest is not None:
            files = {**files, MANIFEST: json.dumps(manifest, indent=1).encode("utf-8")}
        for name, content in files.items():
            _write(staged / name, content, durable=keep is not None)
            if keep and (keep / name).exists():
                _copy_rights(keep / name, staged / name)
        _swap(staged, folder)
    finally:
        recover(folder)


def remove(folder: Path, hashes: dict[str, str]) -> None:
    """Takes away the files that we put into a folder and their caches, and then the folder, unless a user's files are in it.

    The manifest goes last, and with the folder: as long as anything of ours is there, it is known for ours.
    """
    for name in hashes:
        (folder / name).unlink(missing_ok=True)
    for cache in sorted(folder.rglob("__pycache__")):
        shutil.rmtree(cache)
    for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):  # something of the user's is in it
            inner.rmdir()
    if [path.name for path in folder.iterdir()] == [MANIFEST]:
        retire(folder)
    else:
        (folder / MANIFEST).unlink()


def retire(folder: Path) -> None:
    """Takes away a whole folder of ours in one step."""
    os.rename(folder, _staged(folder))
    recover(folder)


def retired(folder: Path) -> Path:
    """Where a tree stands between its two renames, on a file system that has no exchange."""
    return folder.with_name(f".{folder.name}.retired")


def _staged(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.staged")


def _write(path: Path, content: bytes, *, durable: bool) -> None:
    """Writes a new file, never through a hard link; durable where it holds work of the user's, and is not just a copy of ours."""
    path.unlink(missing_ok=True)
    if durable:
        with atomic_open(path) as file:
            file.write(content)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target, follow_symlinks=False)


def _copy_rights(source: Path, target: Path) -> None:
    shutil.copymode(source, target)
    status = source.stat()
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):  # only root may give a file away
            os.chown(target, status.st_uid, status.st_gid)


def _swap(staged: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(staged, folder)
    elif not _exchange(staged, folder):
        os.rename(folder, retired(folder))
        os.rename(staged, folder)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders atomically; False where system or file system can't."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return (
        renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
    )
