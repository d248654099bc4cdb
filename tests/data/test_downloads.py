"""What img2dataset noted about failed downloads."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardpairs.data.downloads import download_failures


def test_reasons_are_counted_by_their_first_line(tmp_path: Path):
    tar = tmp_path / "00000.tar"
    assert download_failures(tar) == {}
    noted = [
        ("success", None),
        ("failed_to_download", "refused\nTraceback of much more"),
        ("failed_to_download", "refused"),
        ("failed_to_resize", None),
        ("failed_to_download", "x" * 100),
    ]
    status, message = zip(*noted, strict=True)
    table = pa.table({"error_message": message, "status": status})
    pq.write_table(table, tmp_path / "00000.parquet")
    assert download_failures(tar) == {
        "failed_to_download: refused": 2,
        "failed_to_resize": 1,
        f"failed_to_download: {'x' * 80}": 1,
    }


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 and then nothing of the kind PAR1"])
def test_a_damaged_file_counts_nothing(tmp_path: Path, content: bytes):
    (tmp_path / "0.parquet").write_bytes(content)
    assert download_failures(tmp_path / "0.tar") == {}


def test_a_file_of_something_else_counts_nothing(tmp_path: Path):
    pq.write_table(pa.table({"status": [1]}), tmp_path / "0.parquet")
    assert download_failures(tmp_path / "0.tar") == {}
