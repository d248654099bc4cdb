"""Replace a folder in one step: stage the new one beside it, then exchange the two.

The kernel exchanges two folders atomically (``renameat2`` on Linux), so a reader sees the whole old
tree or the whole new one. Where a file system has no exchange, the old folder is moved away first;
the next run repairs what a kill in between leaves.
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
    """Let only one process at a time change a folder and its siblings.

    The lock ends with the process, however that ends.

    Raises:
        UserError: Exit 5 for a folder that cannot be written.
    """
    handle = os.open(folder.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if folder.exists() and not os.access(folder, os.W_OK, effective_ids=True):
            # Without this check an exchange would replace a read-only folder.
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        yield
    except OSError as error:
        # EXDEV: a folder in a lower layer of a container
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV):
            raise
        raise UserError(
            Exit.RESOURCES,
            f"cannot write here: {error.strerror}",
            where=str(error.filename or folder),
            why="the tree is as it was",
            fix="make the folder writable, or patch a copy of the clone",
        ) from error
    finally:
        os.close(handle)


def sha256(content: bytes) -> str:
    """Return the sha256 of bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_tree(folder: Path) -> dict[str, bytes]:
    """Return all files under a folder by path, except Python's caches and our manifest."""
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
    """Return what an earlier run noted in a folder; None for a folder that is not ours."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest
    except (FileNotFoundError, NotADirectoryError):
        return None


def edited_files(folder: Path, hashes: dict[str, str]) -> list[str]:
    """Return the files under a folder of ours that are changed, missing or new.

    Args:
        folder: The folder.
        hashes: The sha256 of each file that we put there, by path.

    Returns:
        Paths, sorted.
    """
    current = {name: sha256(content) for name, content in read_tree(folder).items()}
    return sorted(
        name for name in current.keys() | hashes.keys() if current.get(name) != hashes.get(name)
    )


def recover(folder: Path) -> None:
    """Undo what a killed run began: bring back a moved tree, remove what was staged."""
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
    """Make or replace a folder in one step.

    Args:
        folder: The folder; an older one is replaced.
        files: The contents to write, by path.
        manifest: What to note in the folder; None leaves no note there.
        keep: A folder whose other files are hard-linked, so that owner and times stay.
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
    """Remove the files that we put into a folder, and the folder unless a user's files are in it.

    The manifest goes last: it marks the folder as ours while anything of ours is in it.

    Args:
        folder: The folder.
        hashes: Our files; only the paths are used.
    """
    for name in hashes:
        (folder / name).unlink(missing_ok=True)
    for cache in sorted(folder.rglob("__pycache__")):
        shutil.rmtree(cache)
    for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):  # a file of the user's is in it
            inner.rmdir()
    if [path.name for path in folder.iterdir()] == [MANIFEST]:
        retire(folder)
    else:
        (folder / MANIFEST).unlink()


def retire(folder: Path) -> None:
    """Remove a whole folder of ours in one step."""
    os.rename(folder, _staged(folder))
    recover(folder)


def retired(folder: Path) -> Path:
    """Return where a tree lies between its two renames, on a file system without exchange."""
    return folder.with_name(f".{folder.name}.retired")


def _staged(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.staged")


def _write(path: Path, content: bytes, *, durable: bool) -> None:
    """Write a new file, never through a hard link; ``durable`` for a file with a user's work."""
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
    """Exchange two folders atomically; return False where system or file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    paths = _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other)
    return bool(renameat2(*paths, _RENAME_EXCHANGE) == 0)
