"""The command line of hardpairs calibrate."""

from __future__ import annotations

import csv

import pytest

from hardpairs.cli.calibrate import main
from hardpairs.core.errors import UserError
from tests.reporting.embeddings import write_random_embeddings


@pytest.fixture
def folder(tmp_path):
    return write_random_embeddings(tmp_path / "emb")


def test_flags_to_start_with_and_the_files(folder, tmp_path, capsys):
    assert main([str(folder), "--out", str(tmp_path / "out"), "--alpha", "1"]) == 0
    assert "--loss-fn sanw_debias --sanw-alpha 1 --sanw-delta" in capsys.readouterr().out
    with open(tmp_path / "out/similarities.csv") as file:
        rows = {row["dataset"]: row for row in csv.DictReader(file)}
    assert rows["both (alpha 1)"]["mean_similarity"] == rows["text"]["mean_similarity"]
    assert list(rows["text"])[:3] == ["dataset", "mean_similarity", "std_similarity"]
    assert "fraction_ge_0_3" in rows["text"]
    assert (tmp_path / "out/similarities.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_input(folder, tmp_path):
    for line in ([str(tmp_path / "none")], [str(folder), "--alpha", "2"]):
        with pytest.raises(UserError) as error:
            main(line)
        assert error.value.code == 2
