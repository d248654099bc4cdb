"""Rows that a person has rejected.

Their file is what the page of the hard pairs saves, or a text file with a row number on each line.
"""

from __future__ import annotations

import os
from pathlib import Path

from hardpairs.core.errors import UserError, bad_input, mismatch, usage
from hardpairs.core.parse import parse_json
from hardpairs.data.manifest import check_same_dataset

KIND = "rejected_rows"
REASON = "rejected_by_review"


def read_rejects(
    path: str | os.PathLike[str], *, num_samples: int, fingerprint: str | None
) -> dict[int, str]:
    """Return the rows in a file of rejected rows, with their reason.

    Args:
        path: The file.
        num_samples: N; row numbers must be below it.
        fingerprint: Fingerprint of the data, which must be that in the page's file. ``None`` is
            unknown and accepted.

    Raises:
        UserError: exit 2 when the file does not exist, exit 3 when it is not a file of rejected
            rows, exit 4 when it was made on other data.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise usage(
            f"cannot read the rejected rows: {error.strerror}",
            where=str(path),
            fix="check the path of `reject`",
        ) from None
    except UnicodeDecodeError:
        raise _not_ours(path) from None
    rows, theirs = _parse(text, path)
    if theirs is not None and fingerprint is not None:
        check_same_dataset(fingerprint, theirs, ours_name="the data", theirs_name=str(path))
    outside = [row for row in rows if not 0 <= row < num_samples]
    if outside:
        raise mismatch(
            f"row {outside[0]} is not in the data ({num_samples} rows)",
            where=str(path),
            fix="give the data it was made on",
        )
    return dict.fromkeys(sorted(rows), REASON)


def _parse(text: str, path: str | os.PathLike[str]) -> tuple[set[int], str | None]:
    if not text.lstrip().startswith("{"):
        lines = [line.partition("#")[0].strip() for line in text.splitlines()]
        try:
            return {int(line) for line in lines if line}, None
        except ValueError:
            raise _not_ours(path) from None
    try:
        content = parse_json(text)
        rows = content["rows"]
        good = (
            content["kind"] == KIND
            and isinstance(rows, list)
            and all(type(row) is int for row in rows)
        )
        fingerprint = content.get("dataset_fingerprint")
    except (ValueError, KeyError, TypeError):
        good = False
    if not good or not isinstance(fingerprint, str | None):
        raise _not_ours(path)
    return set(rows), fingerprint


def _not_ours(path: str | os.PathLike[str]) -> UserError:
    return bad_input(
        "not a file of rejected rows",
        where=str(path),
        fix="save it on the page of the hard pairs, or write one row number a line",
    )
