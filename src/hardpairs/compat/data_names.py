"""The flag that names a command's data. The names that it has in other commands work, too."""

from __future__ import annotations

from hardpairs.compat.spelling import Spelling, computed, renamed

NAMES = ("--data", "--csv", "--train-data")
POSITIONAL = "DATA"
OWN = {
    "embed": "--csv",
    "train": "--train-data",
    **dict.fromkeys(("evaluate", "link", "jaccard", "split", "plot"), "--data"),
    **dict.fromkeys(("inspect pairs", "export"), "--data"),
    **dict.fromkeys(("check", "check-ready", "compare", "compare recipes"), POSITIONAL),
}
"""Command -> its own name for the data; ``POSITIONAL``: a word without a flag."""


def data_names(command: str) -> dict[str, Spelling]:
    """Return the rules of the second names of a command's data, by flag."""
    own = OWN.get(command)
    if own is None:
        return {}
    rule = computed(own, lambda value: [value]) if own == POSITIONAL else renamed(own)
    return {name: rule for name in NAMES if name != own}
