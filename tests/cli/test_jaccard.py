"""The command line of hardpairs jaccard."""

from __future__ import annotations

import csv
import json

import pytest

from hardpairs.cli.jaccard import main
from hardpairs.core.errors import UserError


@pytest.fixture
def flags(tmp_path):
    """The flags that name a table of ten stories of two equal texts, and the folder of results."""
    with open(tmp_path / "news.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "text", "label"])
        for story in range(10):
            text = " ".join(f"s{story}w{word}" for word in range(6))
            writer.writerows([f"{side}_{story}.jpg", text, f"s{story}"] for side in "ab")
    keys = ("--csv-img-key", "image_path", "--csv-caption-key", "text", "--csv-label-key", "label")
    return ["--data", str(tmp_path / "news.csv"), *keys, "--out", str(tmp_path / "out")]


def test_the_record_is_printed_and_stored(flags, tmp_path, capsys):
    assert main([*flags, "--n", "2", "--threshold", "0.9"]) == 0
    printed = capsys.readouterr()
    record = json.loads(printed.out)
    assert record == json.loads((tmp_path / "out/jaccard.json").read_text())
    assert record["links"] == 10 and record["test"]["ari"] == 1
    assert str(tmp_path / "out/links.csv") in printed.err


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--n", "2"), 2, "go together"),
        (("--n", "2", "--threshold", "0"), 2, "must be in (0, 1]"),
        (("--same-source", "x"), 2, "has no group"),
        (("--same-source", "("), 2, "no regular expression"),
        (("--same-source", "nothing(.)"), 3, "does not match a key"),
        (("--unlabelled", *(f"s{i}" for i in range(10))), 3, "no row has a label"),
    ],
)
def test_wrong_input(flags, more, code, says):
    with pytest.raises(UserError) as error:
        main([*flags, *more])
    assert error.value.code == code and says in error.value.text()


def test_texts_without_spaces_are_linked_and_those_without_words_are_told(tmp_path, capsys, caplog):
    stories = (
        "президент подписал закон",
        "总统今天签署了新的法律",
        "القطار متأخر بسبب الثلج",
        "!!!",
    )
    lines = [f"{i}{j}.jpg,{story},{i}" for i, story in enumerate(stories) for j in range(3)]
    (tmp_path / "t.csv").write_text("\n".join(["filepath,title,group", *lines]) + "\n")
    command = ["--data", str(tmp_path / "t.csv"), "--out", str(tmp_path / "o")]
    assert main([*command, "--n", "2", "--threshold", "0.5"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["links"] == 9 and record["texts_without_words"] == 3
    assert "3 of 12 texts have no word by the rule unicode" in caplog.text
    assert main([*command, "--n", "2", "--threshold", "0.5", "--word-rule", "printed"]) == 0
    assert json.loads(capsys.readouterr().out)["links"] == 6  # a Chinese sentence is one word
