"""Puts the patch series of ``patches/`` onto OpenCLIP's training code, and takes it off again.

Without ``--target`` the installed ``open_clip_train`` is copied to ``src/open_clip_train/`` and patched there; the installed package
stays as it is. With ``--target`` a clone of OpenCLIP (or a plain copy) is patched in place, and our packages are put beside it.

    python -m tools.apply_patches                              # make or renew src/open_clip_train/
    python -m tools.apply_patches --target /path/to/open_clip  # a clone of yours; add --reverse to take it all off again
    python -m tools.apply_patches --check                      # exit 0 when the whole series is applied, 4 otherwise
    python -m tools.apply_patches --stat                       # changed upstream lines, per patch

The tree is exchanged in one step: a kill at any moment leaves the old one or the new one. Lines that you edited where a patch has
its own are refused, all of the series with them, by file and line (exit 4); edits elsewhere stay, also through ``--reverse``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.errors import Exit, bad_input, mismatch, usage
from hardpairs.patching import tree as trees
from hardpairs.patching.companions import ROOT, companion_states
from hardpairs.patching.diff import PACKAGE, Patch, patch_state
from hardpairs.patching.place import locked, retired
from hardpairs.patching.series import (
    SERIES,
    VERSIONS,
    clone_version,
    load_series,
    statistics,
    unknown_version,
)
from hardpairs.patching.tree import Tree

GENERATED = ROOT / "src" / PACKAGE


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(_parser(), "patch", argv)
    if args.stat:
        version = _clone(args.target)[1] if args.target else VERSIONS[0]
        print(statistics(load_series(version, args.series)))
        return Exit.OK
    if args.check:
        return _check(_read(args.target), args.series)
    if args.dry_run:
        return _change(_read(args.target), args.series, args.reverse, dry_run=True)
    folder = _clone(args.target)[0] if args.target else GENERATED
    with locked(folder):
        trees.clear(folder)
        return _change(_read(args.target), args.series, args.reverse)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hardpairs patch", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--target",
        type=Path,
        metavar="FOLDER",
        help="a clone or copy of OpenCLIP to patch in place",
    )
    parser.add_argument(
        "--series",
        choices=SERIES,
        default="all",
        help="hooks call our code; mends repair OpenCLIP and need none of it",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and change nothing"
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--reverse", action="store_true", help="take away what was put there, byte for byte"
    )
    action.add_argument(
        "--check",
        action="store_true",
        help="say which patches are applied; exit 4 when not all are",
    )
    action.add_argument(
        "--stat", action="store_true", help="count changed upstream lines per patch and group"
    )
    return parser


def _read(target: Path | None) -> Tree:
    if target is None:
        return trees.read_generated(GENERATED, *_installed())
    folder, version = _clone(target)
    return trees.read_clone(folder, version, load_series(version))


def _installed() -> tuple[str, Path]:
    """Version and folder of the installed training code; asked of the metadata, since an import would find the patched copy."""
    try:
        package = importlib.metadata.distribution("open_clip_torch")
    except importlib.metadata.PackageNotFoundError:
        raise usage(
            "OpenCLIP is not installed", fix=f"pip install open_clip_torch=={VERSIONS[0]}"
        ) from None
    folder = Path(str(package.locate_file(PACKAGE)))
    if not folder.is_dir():
        raise usage(
            f"the installed OpenCLIP {package.version} has no {PACKAGE}/",
            where=str(folder),
            fix="is it a clone? Name it with --target",
        )
    if package.version not in VERSIONS:
        raise unknown_version(package.version)
    return package.version, folder


def _clone(target: Path) -> tuple[Path, str]:
    """The tree in a clone and its version; a copy without OpenCLIP's version file gets the newest series that fits."""
    places = [target.resolve() / "src" / PACKAGE, target.resolve() / PACKAGE]
    folder = next((place for place in places if place.is_dir() or retired(place).is_dir()), None)
    if folder == GENERATED:
        raise usage(
            "that is this project's own tree",
            where=str(folder),
            fix="leave --target out, or name a clone of OpenCLIP",
        )
    if folder is None:
        raise bad_input(
            f"no src/{PACKAGE}/ or {PACKAGE}/ in {target}",
            fix="name the root of a clone or copy of OpenCLIP",
        )
    version = clone_version(folder) or next(
        (known for known in VERSIONS if _fits(folder, known)), VERSIONS[0]
    )
    if version not in VERSIONS:
        raise unknown_version(version, f"git -C {target} checkout v{VERSIONS[0]}")
    return folder, version


def _fits(folder: Path, version: str) -> bool:
    series = load_series(version)
    base = trees.read_clone(folder, version, series).base
    return all(patch_state(patch, base) != "edited" for patch in series)


def _check(tree: Tree, series: str) -> int:
    patches = load_series(tree.version, series)
    states = {patch.name: _patch_state(tree, patch) for patch in patches}
    if not tree.generated and any(patch.series == "hooks" for patch in patches):
        states |= {f"{name}/": state for name, state in companion_states(tree.folder).items()}
    print(f"OpenCLIP {tree.version}, {tree.folder}")
    print("\n".join(f"{name:<32}{state}" for name, state in states.items()))
    wrong = [name for name, state in states.items() if state not in ("applied", "in place")]
    fix = f"python -m tools.apply_patches{_option(tree)}"
    if wrong:
        raise mismatch(f"not applied: {', '.join(wrong)}", where=str(tree.folder), fix=fix)
    if tree.generated and tree.files != trees.plan(tree, tree.patches):
        raise mismatch(
            "the patched copy was made from another OpenCLIP than the one installed now",
            where=str(tree.folder),
            fix=fix,
        )
    return Exit.OK


def _patch_state(tree: Tree, patch: Patch) -> str:
    if not tree.files:
        return "missing"
    if any(noted.name == patch.name and noted.text != patch.text for noted in tree.patches):
        return "older"
    state = patch_state(patch, tree.files)
    return "missing" if state == "open" else state


def _change(tree: Tree, series: str, reverse: bool, *, dry_run: bool = False) -> int:
    patches = _wanted(tree, series, reverse)
    if reverse and tree.generated and not patches:
        return _take_away(tree, dry_run)
    if trees.is_current(tree, patches):
        return _say(f"nothing to do: {tree.folder} has {_names(patches)}")
    files = trees.plan(tree, patches)
    changed = sorted(name for name in files if files[name] != tree.files.get(name))
    if not dry_run:
        trees.write(tree, patches)
    verb = "would have" if dry_run else "has"
    return _say(
        f"{tree.folder} {verb} {_names(patches)} now; OpenCLIP {tree.version}; files changed: {', '.join(changed) or 'none'}"
    )


def _wanted(tree: Tree, series: str, reverse: bool) -> list[Patch]:
    """The patches that the tree is to have: a generated one just what is asked for, a clone also what it has of the other group."""
    if reverse:
        return [patch for patch in tree.patches if series not in ("all", patch.series)]
    groups = {series} if tree.generated else {series} | {patch.series for patch in tree.patches}
    return [patch for patch in load_series(tree.version) if groups & {"all", patch.series}]


def _take_away(tree: Tree, dry_run: bool) -> int:
    if not tree.folder.exists():
        return _say(f"nothing to do: there is no {tree.folder}")
    if not dry_run:
        trees.take_away(tree)
    return _say(f"{tree.folder} {'would be' if dry_run else 'is'} taken away")


def _names(patches: Sequence[Patch]) -> str:
    hooks = sum(patch.series == "hooks" for patch in patches)
    return f"{hooks} hooks and {len(patches) - hooks} mends" if patches else "no patch of ours"


def _option(tree: Tree) -> str:
    return "" if tree.generated else f" --target {tree.folder.parent}"


def _say(text: str) -> int:
    print(text, file=sys.stderr)
    return Exit.OK
