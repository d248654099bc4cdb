"""The trees that the patch series goes onto: our copy of the installed trainer, and clones."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable
from pathlib import Path

from hardpairs.core.errors import bad_input, usage
from hardpairs.patching import tree as trees
from hardpairs.patching.diff import PACKAGE, Patch, parse_patch, patch_state
from hardpairs.patching.folders import locked, read_manifest, retired
from hardpairs.patching.series import (
    MAIN,
    VERSIONS,
    clone_version,
    fingerprint,
    load_series,
    main_checkout,
    unknown_version,
)
from hardpairs.patching.tree import Tree

_BESIDE = Path(__file__).resolve().parents[2]


def is_wheel() -> bool:
    """Return True when this package comes from a wheel, not from a checkout or clone."""
    return any(_BESIDE.glob("openclip_hardpairs-*.dist-info"))


def trainer_folder() -> Path:
    """Return the folder of the patched ``open_clip_train`` that training uses, made or not.

    It lies beside this package in a checkout and in a clone. An installed package may not write
    beside itself, where the unpatched trainer lies: there it is a folder of the user's cache, one
    for each version of OpenCLIP and each series.
    """
    if not is_wheel():
        return _BESIDE / PACKAGE
    version, _ = installed_trainer()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "hardpairs" / f"{version}-{fingerprint(load_series(version))[:16]}" / PACKAGE


def make_trainer() -> Path:
    """Make the patched trainer of this installation, unless it is there.

    That of a checkout is made anew when its patches are not those of the checkout any more, as
    after ``git pull``: its hooks would call functions that are elsewhere now.

    Returns:
        Its folder.

    Raises:
        UserError: Exit 2 when OpenCLIP is not installed, exit 4 for a version without a series, or
            for an outdated trainer that was edited by hand, exit 5 for a folder that cannot be
            written.
    """
    folder = trainer_folder()
    if (folder / "main.py").is_file() and not _is_outdated(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        trees.clear(folder)
        tree = read_target(None)
        # Another process may have made it while this one waited for the lock.
        if not tree.files:
            trees.write(tree, load_series(tree.version))
        elif _is_outdated(folder):
            trees.write(tree, _now(tree.version, tree.patches))
    return folder


def _is_outdated(folder: Path) -> bool:
    """Return whether a checkout's trainer has other patches than the checkout."""
    manifest = read_manifest(folder)
    if manifest is None or not (_BESIDE.parent / "patches").is_dir():
        return False
    noted = tuple(parse_patch(name, text) for name, text in manifest["patches"].items())
    now = {patch.name: patch.text for patch in _now(manifest["version"], noted)}
    return bool(now != manifest["patches"])


def _now(version: str, patches: Iterable[Patch]) -> list[Patch]:
    """Return the present patches of the groups that some patches are of."""
    groups = {patch.series for patch in patches}
    return [patch for patch in load_series(version) if patch.series in groups]


def installed_trainer() -> tuple[str, Path]:
    """Return version and folder of the installed training code.

    They are asked of the metadata, since an import would find the patched copy.

    Raises:
        UserError: Exit 2 when OpenCLIP is not installed, exit 4 for a version without a series.
    """
    try:
        package = importlib.metadata.distribution("open_clip_torch")
    except importlib.metadata.PackageNotFoundError:
        fix = f"pip install open_clip_torch=={VERSIONS[0]}"
        raise usage("OpenCLIP is not installed", fix=fix) from None
    folder = Path(str(package.locate_file(PACKAGE)))
    if not folder.is_dir():
        what = f"the installed OpenCLIP {package.version} has no {PACKAGE}/"
        raise usage(what, where=str(folder), fix="if it is a clone, name it as the target")
    # The files of a release are not edited, and each training command comes here.
    known = package.version in VERSIONS
    version = package.version if known else _series_version(folder, package.version)
    if version is None:
        raise unknown_version(package.version)
    return version, folder


def find_clone(target: Path) -> tuple[Path, str]:
    """Return the tree in a clone or copy of OpenCLIP, and the version whose series is for it.

    Raises:
        UserError: Exit 2 for this project's own tree, exit 3 for a folder without a tree, exit 4
            for a version without a series.
    """
    candidates = [target.resolve() / "src" / PACKAGE, target.resolve() / PACKAGE]
    existing = (path for path in candidates if path.is_dir() or retired(path).is_dir())
    folder = next(existing, None)
    if folder is None:
        what = f"no src/{PACKAGE}/ or {PACKAGE}/ in {target}"
        raise bad_input(what, fix="name the root of a clone or copy of OpenCLIP")
    if folder == trainer_folder():
        fix = "name no target, or a clone of OpenCLIP"
        raise usage("that is this project's own tree", where=str(folder), fix=fix)
    stated = clone_version(folder)
    version = _series_version(folder, stated)
    if version is None:
        raise unknown_version(str(stated), main_checkout(target))
    return folder, version


def read_target(target: Path | None) -> Tree:
    """Read the tree in a clone, or with None the copy that we make of the installed trainer."""
    if target is None:
        return trees.read_generated(trainer_folder(), *installed_trainer())
    folder, version = find_clone(target)
    return trees.read_clone(folder, version, load_series(version))


def _series_version(folder: Path, stated: str | None) -> str | None:
    """Return the version whose series is for a trainer.

    Its lines decide: a version of main is the same number over many commits. The number does where
    no series fits, so that the lines in the way are named.

    Args:
        folder: The trainer's folder.
        stated: The number that it goes by; ``None``: none.

    Returns:
        One of ``VERSIONS``, ``MAIN``, or ``None`` for a number that no series is for.
    """
    by_number = MAIN if (stated or "").startswith(MAIN.rstrip("x")) else stated or VERSIONS[0]
    known = [version for version in (*VERSIONS, MAIN) if version != by_number]
    candidates = [by_number, *known] if by_number in (*VERSIONS, MAIN) else known
    fitting = (version for version in candidates if _fits(folder, version))
    return next(fitting, by_number if by_number in candidates else None)


def _fits(folder: Path, version: str) -> bool:
    series = load_series(version)
    base = trees.read_clone(folder, version, series).base
    return all(patch_state(patch, base) != "edited" for patch in series)
