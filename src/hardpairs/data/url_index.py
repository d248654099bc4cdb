"""HELIP's ``url_index/<dataset>_url_index.json``: the row number of each URL.

With it, row numbers of one download can be found in another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import bad_input, mismatch, usage
from hardpairs.core.parse import parse_json


def write_url_index(
    out: str | os.PathLike[str], dataset: str, urls: Iterable[tuple[str, int]]
) -> Path:
    """Write URLs and their row numbers as one JSON object.

    Of a URL that occurs twice the first row is written; a reader would otherwise take the last.

    Args:
        out: The folder that ``url_index/`` is in.
        dataset: Name of the data set.
        urls: URLs with their row numbers; an empty URL is left out.

    Returns:
        The file.
    """
    path = Path(out) / "url_index" / f"{dataset}_url_index.json"
    seen: set[str] = set()
    with atomic_open(path) as file:
        file.write(b"{")
        for url, row in urls:
            if url and url not in seen:
                file.write(f"{',' if seen else ''}\n{json.dumps(url)}: {row}".encode())
                seen.add(url)
        file.write(b"\n}\n")
    return path


def rows_by_old_number(url_index: str | os.PathLike[str], urls: Iterable[str]) -> dict[int, int]:
    """Return the row of this data set by row number of the one that an index was written for.

    Args:
        url_index: The file of the index.
        urls: The URLs of this data set by row. A URL that only one of the two has is left out.

    Raises:
        UserError: exit 2 when the file does not exist, exit 3 when it is not an index, exit 4 when
            the two data sets have no URL in common.
    """
    path = Path(url_index)
    if not path.is_file():
        raise usage(
            "no such file", where=str(path), fix="HELIP writes url_index/<dataset>_url_index.json"
        )
    try:
        numbers = {
            str(url): int(number)
            for url, number in parse_json(path.read_text(encoding="utf-8")).items()
        }
    except (ValueError, AttributeError, TypeError, OverflowError) as error:
        raise bad_input(f"not an object of URLs and numbers: {error}", where=str(path)) from None
    rows: dict[int, int] = {}
    for row, url in enumerate(urls):
        if url in numbers:
            rows.setdefault(numbers[url], row)
    if not rows:
        raise mismatch(
            "no URL of the index is in the data",
            where=str(path),
            fix="give data with URLs: shards of img2dataset, or a CSV with a url column",
        )
    return rows
