"""Put the patch series onto OpenCLIP's training code, and take it off again.

Without ``--target`` the installed ``open_clip_train`` is copied and the copy is patched: to
``src/open_clip_train/`` in a checkout, to the user's cache folder otherwise. The installed package
stays as it is. With ``--target`` a clone of OpenCLIP (or a plain copy) is patched in place, and our
package is put beside it.

    hardpairs patch                              # make or renew the patched copy
    hardpairs patch --target /path/to/open_clip  # patch a clone; --reverse takes it all off again
    hardpairs patch --check                      # exit 0 when the whole series is applied, else 4
    hardpairs patch --stat                       # count changed upstream lines, per patch

The tree is exchanged in one step: a kill at any moment leaves the old one or the new one. Where a
user edited lines that a patch changes, the whole series is refused, by file and line (exit 4).
Edits elsewhere stay, also through ``--reverse``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.errors import Exit, mismatch
from hardpairs.core.parser import Parser
from hardpairs.patching import targets
from hardpairs.patching import tree as trees
from hardpairs.patching.companions import companion_states
from hardpairs.patching.diff import Patch, patch_state
from hardpairs.patching.folders import locked
from hardpairs.patching.series import (
    MAIN,
    SERIES,
    VERSIONS,
    is_that_commit,
    load_series,
    main_commit,
    statistics,
)
from hardpairs.patching.tree import Tree


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The command line; None takes the process's own.

    Returns:
        The exit code.

    Raises:
        UserError: With the exit code of what is wrong.
    """
    args = parse_arguments(_parser(), "patch", argv)
    if args.stat:
        version = targets.find_clone(args.target)[1] if args.target else VERSIONS[0]
        print(statistics(load_series(version, args.series)))
        return Exit.OK
    if args.check:
        return _check(targets.read_target(args.target), args.series)
    if args.dry_run:
        tree = targets.read_target(args.target)
        return _change(tree, args.series, args.reverse, dry_run=True)
    folder = targets.find_clone(args.target)[0] if args.target else targets.trainer_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        trees.clear(folder)
        return _change(targets.read_target(args.target), args.series, args.reverse)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="hardpairs patch", description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--target", type=Path, metavar="FOLDER", help="a clone or copy of OpenCLIP to patch")
    add(
        "--series", choices=SERIES, default="all", help="hooks call our code; mends repair OpenCLIP"
    )
    add("--dry-run", action="store_true", help="say what would be done, and change nothing")
    action = parser.add_mutually_exclusive_group()
    add = action.add_argument
    add("--reverse", action="store_true", help="remove what was put there, byte for byte")
    add("--check", action="store_true", help="list the applied patches; exit 4 unless all are")
    add("--stat", action="store_true", help="count changed upstream lines per patch and group")
    return parser


def _check(tree: Tree, series: str) -> int:
    patches = load_series(tree.version, series)
    states = {patch.name: _patch_state(tree, patch) for patch in patches}
    if not tree.generated and any(patch.series == "hooks" for patch in patches):
        states |= {f"{name}/": state for name, state in companion_states(tree.folder).items()}
    print(f"OpenCLIP {tree.version}, {tree.folder}")
    _tell_of_another_commit(tree)
    print("\n".join(f"{name:<32}{state}" for name, state in states.items()))
    wrong = [name for name, state in states.items() if state not in ("applied", "in place")]
    what = f"not applied: {', '.join(wrong)}" if wrong else ""
    if not wrong and tree.generated and tree.files != trees.plan(tree, tree.patches):
        what = "the patched copy was made from another OpenCLIP than the one installed now"
    if what:
        option = "" if tree.generated else f" --target {tree.folder.parent}"
        raise mismatch(what, where=str(tree.folder), fix=f"hardpairs patch{option}")
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
        return _remove(tree, dry_run)
    if trees.is_current(tree, patches):
        return _say(f"nothing to do: {tree.folder} has {_names(patches)}")
    files = trees.plan(tree, patches)
    _tell_of_another_commit(tree)
    changed = sorted(name for name in files if files[name] != tree.files.get(name))
    if not dry_run:
        trees.write(tree, patches)
    verb = "would have" if dry_run else "has"
    return _say(
        f"{tree.folder} {verb} {_names(patches)} now; OpenCLIP {tree.version}; "
        f"files changed: {', '.join(changed) or 'none'}"
    )


def _tell_of_another_commit(tree: Tree) -> None:
    """Say where main is at another commit than that which its patches were tested on."""
    if tree.version == MAIN and not is_that_commit(tree.base):
        _say(
            f"This is not main at {main_commit()['commit'][:7]}, which the patches were tested on. "
            "Every one of their lines is found once, so they are likely to be right here, too."
        )


def _wanted(tree: Tree, series: str, reverse: bool) -> list[Patch]:
    """Return the patches that the tree is to have.

    Our copy has just the group that is asked for; a clone keeps what it has of the other group.
    """
    if reverse:
        return [patch for patch in tree.patches if series not in ("all", patch.series)]
    groups = {series} if tree.generated else {series} | {patch.series for patch in tree.patches}
    return [patch for patch in load_series(tree.version) if groups & {"all", patch.series}]


def _remove(tree: Tree, dry_run: bool) -> int:
    if not tree.folder.exists():
        return _say(f"nothing to do: there is no {tree.folder}")
    if not dry_run:
        trees.take_away(tree)
    return _say(f"{tree.folder} {'would be' if dry_run else 'is'} removed")


def _names(patches: Sequence[Patch]) -> str:
    hooks = sum(patch.series == "hooks" for patch in patches)
    return f"{hooks} hooks and {len(patches) - hooks} mends" if patches else "no patch of ours"


def _say(text: str) -> int:
    print(text, file=sys.stderr)
    return Exit.OK
