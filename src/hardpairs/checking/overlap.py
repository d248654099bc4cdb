"""Rows that two data sets have in common, such as training and test pairs."""

from __future__ import annotations

from hardpairs.checking.survey import Finding, Read


def overlap(read: Read, other: Read) -> list[Finding]:
    """Return the usable rows that are also in another data set, by what they share.

    Args:
        read: The data set.
        other: The other one.
    """
    rows, theirs = read.usable(), other.usable()
    samples, their = read.samples, other.samples
    contents = {other.content(row) for row in theirs}
    captions = {their.caption(row) for row in theirs}
    pairs = {(other.content(row), their.caption(row)) for row in theirs}
    groups = {their.group(row) for row in theirs if their.labelled[row]}
    kinds = {
        "the same image and caption": [
            row for row in rows if (read.content(row), samples.caption(row)) in pairs
        ],
        "the same image": [row for row in rows if read.content(row) in contents],
        "the same caption": [row for row in rows if samples.caption(row) in captions],
        "the same group": [
            row for row in rows if samples.labelled[row] and samples.group(row) in groups
        ],
    }
    return [read.finding(what, found) for what, found in kinds.items() if found]
