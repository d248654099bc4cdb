"""``hardpairs check-ready`` prints the facts and one line of advice."""

from __future__ import annotations

import json

import pytest

from hardpairs.cli.check_ready import main
from hardpairs.core.errors import UserError


def test_it_prints_facts_and_advice(table, embeddings, hard_pairs, capsys):
    words = [str(table), "--embeddings", str(embeddings), "--batch-size", "4"]
    words += ["--hard-pairs", str(hard_pairs)]
    assert main(words) == 0
    *facts, advice = capsys.readouterr().out.splitlines()
    assert len(facts) == 7 and advice.endswith(".")
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["batch_size"] == 4


def test_a_path_that_is_not_there_is_refused(table, embeddings):
    with pytest.raises(UserError, match="nowhere") as error:
        main([str(table), "--embeddings", str(embeddings), "--run", "nowhere"])
    assert error.value.code == 2
