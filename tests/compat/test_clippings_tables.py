"""CLIPPINGS' tables, as hardpairs format-news reads and writes them."""

import csv
import json

import pytest

from hardpairs.cli.format_news import main
from hardpairs.core.errors import UserError
from tests.linking.test_label_studio import task


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_tables_of_other_columns(tmp_path):
    (tmp_path / "day.csv").write_text(
        "image_id,caption,cluster_label\nx.png,one,7\ny.png,two,7\nz.png,three,8\n"
    )
    assert main([str(tmp_path / "day.csv"), "--out", str(tmp_path / "day")]) == 0
    both = rows(tmp_path / "day/labelled_news_train_reformatted.csv") + rows(
        tmp_path / "day/labelled_news_val_reformatted.csv"
    )
    assert sorted(tuple(row.values()) for row in both) == [
        ("x.png", "one", "7"),
        ("y.png", "two", "7"),
        ("z.png", "three", "8"),
    ]
    (tmp_path / "food.csv").write_text("".join(f"{i}.jpg,a pizza,pizza\n" for i in range(10)))
    assert (
        main(
            [
                str(tmp_path / "food.csv"),
                "--no-header",
                "--split-by",
                "row",
                "--out",
                str(tmp_path / "food"),
            ]
        )
        == 0
    )
    assert len(rows(tmp_path / "food/labelled_news_val_reformatted.csv")) == 2
    (tmp_path / "scans.csv").write_text(
        "image_path,text\n" + "".join(f"{i}.jpg,t\n" for i in range(10))
    )
    assert (
        main([str(tmp_path / "scans.csv"), "--unlabelled", "--out", str(tmp_path / "scans")]) == 0
    )
    assert {
        row["label"] for row in rows(tmp_path / "scans/unlabelled_news_train_reformatted.csv")
    } == {"999"}


@pytest.mark.parametrize(
    ("name", "content", "code", "says"),
    [
        ("x.json", "{", 3, "not JSON"),
        ("x.json", "{}", 3, "a list of tasks"),
        ("x.json", '[{"data": {"id1": "a"}}]', 3, "task 0"),
        ("x.json", json.dumps([task("a", "b", "Maybe")]), 3, "Same or Different"),
        ("x.csv", "a,b\n1,2\n", 3, "no column image_path"),
    ],
)
def test_bad_input(tmp_path, name, content, code, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as error:
        main([str(tmp_path / name), "--out", str(tmp_path / "out")])
    assert error.value.code == code and says in error.value.text()
