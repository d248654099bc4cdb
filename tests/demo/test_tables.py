"""Tables that are pointed at another server."""

from __future__ import annotations

from pathlib import Path

from hardpairs.demo.pairs import build_pairs
from hardpairs.demo.tables import move_tables
from tests.demo.made import read_table, scene_options


def test_moving_a_table_changes_its_urls_alone(tmp_path: Path) -> None:
    build_pairs(tmp_path, scene_options(pairs=4))
    before = read_table(tmp_path / "train.tsv")
    move_tables(tmp_path, "http://127.0.0.1:9")
    for (caption, old, group), moved in zip(
        before, read_table(tmp_path / "train.tsv"), strict=True
    ):
        assert moved == [caption, old.replace("127.0.0.1:8000", "127.0.0.1:9"), group]
