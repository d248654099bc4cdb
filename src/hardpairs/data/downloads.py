"""Failed downloads, as img2dataset noted them."""

from __future__ import annotations

from collections import Counter

from hardpairs.core.remote import FilePath
from hardpairs.data.columns import UNREADABLE, read_parquet


def download_failures(path: FilePath) -> Counter[str]:
    """Count the reasons of failed downloads in img2dataset's parquet beside a shard.

    Empty without such a file, and where it cannot be read or is not img2dataset's: the shard does
    not need it.
    """
    parquet = path.with_suffix(".parquet")
    if not parquet.is_file():
        return Counter()
    try:
        with parquet.open("rb") as file:
            table = read_parquet(file, ["status", "error_message"])
        rows = list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    except (KeyError, *UNREADABLE):
        return Counter()
    return Counter(
        f"{status}: {str(message).splitlines()[0][:80]}" if message else str(status)
        for status, message in rows
        if status != "success"
    )
