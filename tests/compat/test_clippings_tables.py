"""CLIPPINGS' tables, as hardpairs format-news reads and writes them."""

import csv
import json
from pathlib import Path

import pytest

from hardpairs.cli.format_news import main
from hardpairs.compat.clippings_tables import read_rows
from hardpairs.core.errors import UserError
from tests.helpers import picture
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


def test_ids_without_an_extension(tmp_path, capsys):
    """Label Studio's and CLIPPINGS' ids: the file that is there is taken, or an extension is put."""
    for name in ("p.1.jpg", "q.PNG", "r.jpg"):
        (tmp_path / name).write_bytes(picture(0))
    (tmp_path / "day.csv").write_text("image_id,caption,cluster_label\np.1,a,1\nr.jpg,b,1\ns,c,2\n")
    line = [str(tmp_path / "day.csv"), "--image-root", str(tmp_path), "--split-by", "row"]
    assert main([*line, "--out", str(tmp_path / "found")]) == 0
    names = [Path(row["image_path"]).name for row in rows_of(tmp_path / "found")]
    assert sorted(names) == ["p.1.jpg", "r.jpg", "s"]
    said = capsys.readouterr().err
    assert f"1 of 3 images are not there: {tmp_path}/s;" in said
    assert main([*line, "--image-extension", "jp2", "--out", str(tmp_path / "put")]) == 0
    names = [Path(row["image_path"]).name for row in rows_of(tmp_path / "put")]
    assert sorted(names) == ["p.1.jp2", "r.jpg", "s.jp2"]


def rows_of(folder):
    return [
        row
        for part in ("train", "val")
        for row in rows(folder / f"labelled_news_{part}_reformatted.csv")
    ]


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


def test_a_table_that_is_no_text_is_told(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"a.jpg,\xff\xfe,1\n")
    with pytest.raises(UserError, match="not a table of text"):
        read_rows(tmp_path / "x.csv", header=False)
