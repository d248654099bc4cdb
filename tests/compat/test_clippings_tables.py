"""tools.format_news: Label Studio pairs to clusters, CLIPPINGS' tables to ours."""

import csv
import json

import pytest

from hardpairs.cli.format_news import main
from hardpairs.core.errors import UserError
from hardpairs.data.samples import open_samples
from hardpairs.linking.label_studio import cluster_pairs, read_label_studio


def task(first, second, *answers, minimal=False):
    data = {
        "id1": first,
        "caption1": f"text of {first}",
        "id2": second,
        "caption2": f"text of {second}",
    }
    if minimal:
        return {**data, **({"choice": answers[0]} if answers else {})}
    return {
        "data": data,
        "annotations": [
            {"result": [{"type": "choices", "value": {"choices": [answer]}}]} for answer in answers
        ],
    }


def written(folder, tasks, name="pairs.json"):
    (folder / name).write_text(json.dumps(tasks))
    return folder / name


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_clusters_by_hand(tmp_path):
    """a = b = c is one cluster although a and c were called different; d and e are single, and no cluster has their numbers."""
    tasks = [
        task("a", "b", "Same"),
        task("b", "c", "Same"),
        task("a", "c", "Different"),
        task("d", "e", "Different"),
        task("e", "a"),
    ]
    for minimal in (False, True):
        given = [
            task(t["data"]["id1"], t["data"]["id2"], *_said(t), minimal=minimal) for t in tasks
        ]
        pairs, unanswered = read_label_studio(written(tmp_path, given))
        clusters = cluster_pairs(pairs)
        assert unanswered == 1
        assert clusters.labels == {"a": 0, "b": 0, "c": 0, "d": 1, "e": 2}
        assert clusters.conflicts == [("a", "c", ["a", "b", "c"])]


def _said(task):
    return [
        result["value"]["choices"][0]
        for annotation in task["annotations"]
        for result in annotation["result"]
    ]


def test_two_people_who_disagree_are_a_conflict(tmp_path):
    pairs, _ = read_label_studio(written(tmp_path, [task("a", "b", "Same", "Different")]))
    assert cluster_pairs(pairs).conflicts == [("a", "b", ["a", "b"])]


def test_files_are_clippings_files(tmp_path, capsys):
    tasks = [task(f"{i}a.png", f"{i}b.png", "Same") for i in range(20)] + [
        task(f"s{i}.png", f"t{i}.png", "Different") for i in range(5)
    ]
    assert (
        main(
            [str(written(tmp_path, tasks)), "--image-root", "scans", "--out", str(tmp_path / "out")]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["rows"] == 50
    parts = {
        name: rows(tmp_path / f"out/labelled_news_{name}_reformatted.csv")
        for name in ("train", "val")
    }
    labels = {name: {row["label"] for row in part} for name, part in parts.items()}
    assert (
        not labels["train"] & labels["val"]
        and len(labels["train"]) == 24
        and len(labels["val"]) == 6
    )
    assert sum(map(len, parts.values())) == 50 and parts["train"][0]["image_path"].startswith(
        "scans/"
    )
    paired = rows(tmp_path / "out/labelled_news_train_reformatted_no_singletons.csv")
    assert paired == [row for row in parts["train"] if row["image_path"][6:-5].isdigit()]
    samples = open_samples(
        tmp_path / "out/labelled_news_val_reformatted.csv",
        image_key="image_path",
        caption_key="text",
        group_key="label",
    )
    assert samples.labelled.all()


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


def test_wrong_command_lines(tmp_path):
    for argv in (["nowhere.json"], [str(written(tmp_path, [])), "--unlabelled"]):
        with pytest.raises(UserError) as error:
            main([*argv, "--out", str(tmp_path / "out")])
        assert error.value.code == 2
