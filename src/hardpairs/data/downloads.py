"""Failed downloads, as img2dataset noted them."""

from __future__ import annotations

from collections import Counter

from hardpairs.core.remote import FilePath
from hardpairs.data.columns import read_parquet


def download_failures(path: FilePath) -> Counter[str]:
    """Count the reasons of failed downloads in img2dataset's parquet beside a shard."""
    parquet = path.with_suffix(".parquet")
    if not parquet.is_file():
        return Counter()
    with parquet.open("rb") as file:
        table = read_parquet(file, ["status", "error_message"])
    return Counter(
        f"{status}: {(message or '').splitlines()[0][:80]}" if message else status
        for status, message in zip(
            *(table[name].to_pylist() for name in table.column_names), strict=True
        )
        if status != "success"
    )
