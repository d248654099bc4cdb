"""HELIP's ``url_index/<dataset>_url_index.json``: which number a URL has, so that row numbers of one download can be found in another."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import bad_input, mismatch, usage


def write_url_index(
    out: str | os.PathLike[str], dataset: str, urls: Iterable[tuple[str, int]]
) -> Path:
    """Writes URLs and their row numbers as one JSON object; of a URL that stands twice the first row counts, as a reader would otherwise
    take the last."""
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
    """Row of this dataset by number of the one that the index was written for.

    Args:
        urls: this dataset's, by row. A URL that only one of the two has is left out.

    Raises:
        UserError: exit 2 when the file is not there, exit 3 when it is no such index, exit 4 when the two have no URL in common.
    """
    path = Path(url_index)
    if not path.is_file():
        raise usage(
            "no such file", where=str(path), fix="HELIP writes url_index/<dataset>_url_index.json"
        )
    try:
        numbers = {
            str(url): int(number)
            for url, number in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (ValueError, AttributeError, TypeError) as error:
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
