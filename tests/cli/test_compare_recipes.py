"""``hardpairs compare recipes`` refuses what cannot work before it imports PyTorch or trains."""

from __future__ import annotations

import pytest

from hardpairs.cli.compare_recipes import main
from hardpairs.cli.console import run
from hardpairs.core.errors import UserError


@pytest.mark.parametrize(
    "words, message",
    [
        (["--recipes", "magic"], "no recipe is called magic"),
        (["--recipe", "mine"], "does not name a recipe"),
        (["--recipe", "mine: --hard-topk 5"], "nothing uses it"),
        (["--lr", "0"], "must be positive"),
    ],
)
def test_what_cannot_work_is_refused(table, embeddings, tmp_path, words, message):
    given = [str(table), "--embeddings", str(embeddings), "--out", str(tmp_path / "o"), *words]
    with pytest.raises(UserError, match=message) as error:
        main(given)
    assert error.value.code == 2 and not (tmp_path / "o").exists()


def test_a_column_that_is_not_there_is_named(table, embeddings, tmp_path):
    given = [str(table), "--embeddings", str(embeddings), "--out", str(tmp_path / "o")]
    with pytest.raises(UserError, match="nothing_like_it") as error:
        main([*given, "--split-key", "nothing_like_it", "--jobs", "1"])
    assert error.value.code == 3


def test_it_is_not_the_comparison_of_losses(capsys):
    for command in ("recipes", "open-test"):
        with pytest.raises(SystemExit):
            run(["compare", command, "--help"])
        assert f"hardpairs compare {command}" in capsys.readouterr().out
