"""tools.compare_losses: parts, the table, the page, and going on with what is missing."""

import csv
import json
import shutil

import numpy as np
import pytest

from hardpairs.cli import compare as compare_losses
from hardpairs.comparing import runs
from hardpairs.comparing.measure import METRICS, Measured, measure
from hardpairs.comparing.parts import find_parts, split
from hardpairs.comparing.table import chosen, disagreements, markdown, rows_of
from hardpairs.core.errors import UserError
from hardpairs.data.samples import open_samples
from hardpairs.demo.build import Options
from hardpairs.demo.classes import build_classes
from hardpairs.metrics.gallery import gallery_metrics, leave_one_out
from tests.helpers import run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Class folders of coloured shapes, and a start model that knows their words."""
    folder = tmp_path_factory.mktemp("pictures")
    build_classes(folder / "data", Options("scenes", 80, 4, 0, None, "classes"))
    flags = (
        "--batch-size",
        "16",
        "--max-steps",
        "2",
        "--batching",
        "random",
        "--workers",
        "0",
        "--precision",
        "fp32",
        "--device",
        "cpu",
    )
    data = (
        "--train-data",
        str(folder / "data/train"),
        "--model",
        "hardpairs-test",
        "--logs",
        str(folder),
        "--name",
        "start",
    )
    done = run("python", "-m", "training.main", *data, *flags, "--warmup", "1")
    assert done.returncode == 0, done.stderr
    return folder


def argv(folder, out, *more):
    start = (
        "--model",
        "hardpairs-test",
        "--pretrained",
        str(folder / "start/checkpoints/epoch_1.pt"),
    )
    size = (
        "--steps",
        "4",
        "--epochs",
        "2",
        "--batch-size",
        "16",
        "--m-per-class",
        "2",
        "--seeds",
        "1",
        "--lr",
        "1e-3",
    )
    trainer = ("--", "--workers", "0", "--precision", "fp32")
    return [
        str(folder / "data"),
        *start,
        *size,
        "--losses",
        "supcon,clip-ce",
        "--out",
        str(out),
        *more,
        *trainer,
    ]


def test_the_whole_and_going_on(pictures, tmp_path, capsys, monkeypatch):
    assert compare_losses.main(argv(pictures, tmp_path)) == 0
    table = capsys.readouterr().out
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert {row["loss"] for row in record["losses"]} == {"start", "supcon", "clip_ce"} and record[
        "queries"
    ] == 4
    assert record["losses"][0]["mAP"]["mean"] == max(row["mAP"]["mean"] for row in record["losses"])
    assert (
        all(row["p"] is None or 0 < row["p"] <= 1 for row in record["losses"])
        and "| supcon | 1 | 0.001 |" in table
        and "on the validation data" in table
    )
    page = (tmp_path / "comparison.html").read_text()
    assert (
        "Losses compared" in page and "http" not in page.split("</style>")[1].split("<footer>")[0]
    )
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("a finished run is made again"))
    monkeypatch.setattr(
        compare_losses, "train", lambda *_: pytest.fail("a finished run is made again")
    )
    assert compare_losses.main(argv(pictures, tmp_path)) == 0
    assert capsys.readouterr().out == table
    with pytest.raises(UserError) as error:
        compare_losses.main(argv(pictures, tmp_path, "--choose-by", "ari"))
    assert error.value.code == 4 and "other settings" in error.value.text()


def test_a_killed_run_goes_on(pictures, tmp_path):
    """A run that was killed before its first checkpoint left a folder, and comes to what one comes to that was never stopped."""
    for name in ("whole", "cut"):
        assert compare_losses.main(argv(pictures, tmp_path / name, "--losses", "supcon")) == 0
        folder = tmp_path / name / "runs/supcon-lr0.001-seed0"
        if name == "cut":
            (folder / "done").unlink()
            shutil.rmtree(folder / "checkpoints")
            shutil.rmtree(tmp_path / "cut/measured")
            assert compare_losses.main(argv(pictures, tmp_path / "cut", "--losses", "supcon")) == 0
    found = [
        json.loads((tmp_path / name / "comparison.json").read_text())["losses"]
        for name in ("whole", "cut")
    ]
    assert found[0] == found[1]


def _copy(pictures, place, flat=("query", "gallery")):
    """The pictures with test folders that have no class folders inside, as a challenge hands them out."""
    shutil.copytree(pictures / "data", place / "data")
    shutil.copytree(pictures / "start", place / "start")
    for side in flat:
        folder = place / "data/test" / side
        for path in sorted(folder.glob("*/*")):
            path.rename(folder / f"{path.parent.name}-{path.name}")
        for path in [path for path in folder.iterdir() if path.is_dir()]:
            path.rmdir()
    return place


def test_without_test_labels_validation_data_and_submissions(pictures, tmp_path, capsys):
    place = _copy(pictures, tmp_path)
    assert compare_losses.main(argv(place, tmp_path / "out", "--groupname", "us")) == 0
    told = capsys.readouterr()
    record = json.loads((tmp_path / "out/comparison.json").read_text())
    best = max(record["losses"], key=lambda row: row["validation"] or 0)
    assert record["measured_on"] == "validation" and record["chosen"] == best["loss"] != "start"
    assert record["queries"] > 0 and all(0 < row["mAP"]["mean"] <= 1 for row in record["losses"])
    trained = [row for row in record["losses"] if row["loss"] != "start"]
    # each validation row asks the others, as in training: the epoch's own number, but for what rounding makes of near ties
    assert [row["mAP"]["mean"] for row in trained] == pytest.approx(
        [row["validation"] for row in trained], abs=0.01
    )
    assert (
        "which rates and epochs were chosen by" in told.out
        and not (tmp_path / "out/comparison.html").exists()
    )
    assert sorted(path.stem for path in (tmp_path / "out/submissions").iterdir()) == [
        "clip_ce-lr0.001-seed0",
        "start",
        "supcon-lr0.001-seed0",
    ]
    body = json.loads((tmp_path / "out/submissions/start.json").read_text())
    query, gallery = (
        {path.name for path in (tmp_path / f"data/test/{side}").iterdir()}
        for side in ("query", "gallery")
    )
    assert body["groupname"] == "us" and set(body["images"]) == query
    assert all(
        set(names) <= gallery and len(set(names)) == len(names) == min(10, len(gallery))
        for names in body["images"].values()
    )


def test_a_test_that_nobody_can_answer_is_refused_before_training(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(compare_losses, "train", lambda *_: pytest.fail("trained"))
    place = _copy(pictures, tmp_path, flat=("gallery",))
    shutil.rmtree(place / "data/test/query")
    shutil.move(place / "data/test/gallery", place / "flat")
    shutil.rmtree(place / "data/test")
    shutil.move(place / "flat", place / "data/test")
    with pytest.raises(UserError, match="no two test pictures share a label") as error:
        compare_losses.main(argv(place, tmp_path / "out"))
    assert error.value.code == 3
    with pytest.raises(UserError, match="no test/query") as error:
        compare_losses.main(
            [
                str(_labelled(pictures, tmp_path / "a.csv")),
                *argv(place, tmp_path / "csv", "--groupname", "us", *KEYS)[1:],
            ]
        )
    assert error.value.code == 2


@pytest.mark.parametrize("changed", ["query", "weights"])
def test_other_queries_and_other_start_weights_are_refused(pictures, tmp_path, changed):
    place = _copy(pictures, tmp_path, flat=())
    assert compare_losses.main(argv(place, tmp_path / "out", "--losses", "supcon")) == 0
    if changed == "query":
        next((place / "data/test/query").glob("*/*.jpg")).unlink()
    else:
        (place / "start/checkpoints/epoch_1.pt").write_bytes(
            (tmp_path / "out/runs/supcon-lr0.001-seed0/checkpoints/best.pt").read_bytes()
        )
    with pytest.raises(UserError, match="a run of another kind") as error:
        compare_losses.main(argv(place, tmp_path / "out", "--losses", "supcon"))
    assert error.value.code == 4


def test_a_gallery_of_one_picture_for_each_label_has_no_ari(pictures, tmp_path, capsys):
    place = _copy(pictures, tmp_path, flat=())
    for folder in (place / "data/test/gallery").iterdir():
        for path in sorted(folder.glob("*.jpg"))[1:]:
            path.unlink()
    assert compare_losses.main(argv(place, tmp_path / "out", "--losses", "supcon")) == 0
    assert [
        row["ari"]["mean"]
        for row in json.loads((tmp_path / "out/comparison.json").read_text())["losses"]
    ] == [None, None]


def _parts(pictures):
    return find_parts(str(pictures / "data"), pictures, {}, by="label")


def test_measures_are_those_of_the_gallery(pictures):
    parts = _parts(pictures)
    weights = str(pictures / "start/checkpoints/epoch_1.pt")
    validation, gallery, query = parts.open("validation"), parts.open("test"), parts.open("query")
    found = measure("hardpairs-test", weights, validation, gallery, query)
    assert found.found.shape == (4, 5) and set(found.numbers()) == {*METRICS, "score", "ari"}
    alone = measure("hardpairs-test", weights, validation, gallery, None)
    assert len(alone.rows) == len(gallery) and not (alone.found == alone.rows[:, None]).any()
    from hardpairs.embedding.embed import embed
    from hardpairs.models.encoders import open_encoders

    made = embed(gallery, open_encoders(model="hardpairs-test", pretrained=weights), workers=0)
    asked = embed(query, open_encoders(model="hardpairs-test", pretrained=weights), workers=0)
    expected = gallery_metrics(
        asked.image @ made.image.T, query.groups[asked.rows], gallery.groups[made.rows]
    )
    assert {name: found.numbers()[name] for name in METRICS} == pytest.approx(
        {name: expected[name] for name in METRICS}, abs=1e-6
    )
    assert found.numbers()["score"] == pytest.approx(expected["score"], abs=1e-3)
    expected = leave_one_out(made.image, gallery.groups[made.rows])
    assert {name: alone.numbers()[name] for name in METRICS} == pytest.approx(
        {name: expected[name] for name in METRICS}, abs=1e-6
    )


def of(values):
    values = np.array(values, float)
    queries = {name: values for name in METRICS}
    return Measured(
        queries,
        np.arange(len(values)),
        np.zeros((len(values), 5), int),
        np.zeros((len(values), 5), bool),
        0.5,
    )


def test_table_by_hand():
    measured = {
        "a": [of([1, 0, 1, 0]), of([1, 1, 1, 0])],
        "b": [of([0, 0, 0, 0]), of([1, 0, 0, 0])],
    }
    first, second = rows_of(measured, {"a": 0.1}, {})
    assert (first.loss, first.mean["mAP"], first.p) == ("a", 0.625, None)
    assert first.spread["mAP"] == pytest.approx(0.25 / 2**0.5) and second.mean["mAP"] == 0.125
    assert 0 < second.p < 1
    assert disagreements(measured, 2) == [
        2,
        0,
    ]  # two thirds apart, then a half; places of equal spread by number


def test_split_by_label_and_by_row():
    labels = np.repeat(np.arange(20), 5)
    by_label = split(labels, "label")
    assert {name: len(set(labels[part])) for name, part in by_label.items()} == {
        "train": 12,
        "validation": 4,
        "test": 4,
    }
    assert sorted(np.concatenate(list(by_label.values())).tolist()) == list(range(100))
    by_row = split(labels, "row")
    assert all(set(labels[part]) == set(range(20)) for part in by_row.values())
    assert split(np.arange(3), "row")["train"].tolist() == [
        0,
        1,
        2,
    ]  # a label of one row is trained on


KEYS = ("--csv-img-key", "image", "--csv-caption-key", "text", "--csv-label-key", "kind")


def _labelled(pictures, path, folder="train"):
    """A table of the pictures of one part."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "text", "kind"])
        for picture in sorted((pictures / "data" / folder).rglob("*.jpg")):
            writer.writerow([picture, "a picture", picture.parent.name])
    return path


def test_a_table_is_split_once_and_other_data_is_refused(pictures, tmp_path):
    def table(name, folder):
        return str(_labelled(pictures, tmp_path / name, folder))

    keys = {"image_key": "image", "caption_key": "text", "group_key": "kind"}
    parts = find_parts(table("a.csv", "train"), tmp_path / "out", keys, by="label")
    found = {name: parts.open(name) for name in ("train", "validation", "test")}
    assert sum(map(len, found.values())) == 48 and parts.query is None
    assert not set(found["train"].groups.tolist()) & set(found["test"].groups.tolist())
    assert len(found["test"].image_bytes(0)) > 100
    assert find_parts(table("a.csv", "train"), tmp_path / "out", keys, by="label") == parts
    with pytest.raises(UserError) as error:
        find_parts(table("b.csv", "validation"), tmp_path / "out", keys, by="label")
    assert error.value.code == 4
    assert open_samples(parts.train, group_key="label").labelled.all()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--losses", "nothing"), "no loss is called nothing"),
        (("--losses", ","), "no loss is called"),
        (("--steps", "5"), "--steps 4"),
        (("--batch-size", "15"), "whole groups of 2"),
        (("--losses", "helip"), "hard-pair batches"),
        (("--flags", "triplet:--head-lr 1"), "no loss is called triplet"),
    ],
)
def test_wrong_command_lines(pictures, tmp_path, more, says):
    with pytest.raises(UserError, match=says) as error:
        compare_losses.main(argv(pictures, tmp_path, *more))
    assert error.value.code == 2


def test_flags_of_one_loss_reach_its_runs_alone(pictures, tmp_path):
    more = ("--losses", "triplet,supcon", "--flags", "triplet:--head-lr 0.5 --projection 8")
    assert compare_losses.main(argv(pictures, tmp_path, *more)) == 0
    said = {
        name: (tmp_path / f"runs/{name}-lr0.001-seed0/params.txt").read_text()
        for name in ("triplet", "supcon")
    }
    assert "head_lr: 0.5" in said["triplet"] and "projection: 8" in said["triplet"]
    assert "head_lr: None" in said["supcon"] and "projection: 0" in said["supcon"]
    assert Measured.load(tmp_path / "measured/triplet-lr0.001-seed0.npz").numbers()["mAP"] > 0


def test_a_rate_that_diverges_is_out(pictures, tmp_path, capsys):
    assert (
        compare_losses.main(argv(pictures, tmp_path, "--losses", "clip_ce", "--lr", "1e30", "1e-3"))
        == 0
    )
    assert "clip_ce-lr1e+30-seed0: not finite, left out" in capsys.readouterr().err
    assert json.loads((tmp_path / "comparison.json").read_text())["losses"][0]["rate"] in (
        None,
        1e-3,
    )


def test_a_loss_that_diverges_is_named_and_the_others_have_their_table(
    pictures, tmp_path, capsys, monkeypatch
):
    more = ("--losses", "clip_ce,supcon", "--flags", "clip_ce:--lr 1e30")
    for _ in range(2):  # started again, nothing is trained: not the one that failed, either
        assert compare_losses.main(argv(pictures, tmp_path, *more)) == 0
        assert (
            "clip_ce is not in the table: the run clip_ce-lr0.001-seed0 failed"
            in capsys.readouterr().out
        )
        record = json.loads((tmp_path / "comparison.json").read_text())
        assert {row["loss"] for row in record["losses"]} == {"start", "supcon"} and list(
            record["failed"]
        ) == ["clip_ce"]
        assert "clip_ce is not in the table" in (tmp_path / "comparison.html").read_text()
        monkeypatch.setattr(runs, "launch", lambda *_, **__: pytest.fail("trained again"))
    with pytest.raises(UserError) as error:
        compare_losses.main(argv(pictures, tmp_path, *more, "--losses", "clip_ce"))
    assert error.value.code == 6


def test_a_loss_with_a_seed_that_diverges_is_out(pictures, tmp_path, monkeypatch):
    def train(plan, *_):
        if (plan.loss, plan.seed) == ("clip_ce", 1):
            raise UserError(6, "the run failed")

    monkeypatch.setattr(compare_losses, "train", train)
    monkeypatch.setattr(compare_losses, "curve", lambda plan, metric: [(1, 0.5)])
    args = compare_losses.parse_args(argv(pictures, tmp_path, "--seeds", "2"))
    budget = runs.Budget("m", "none", 4, 2, 16, 2, "mAP", 1, "cpu", ())
    plans, failed = compare_losses._train_all(args, _parts(pictures), budget)
    assert (
        [plan.seed for plan in plans["supcon"]] == [0, 1]
        and failed == {"clip_ce": "the run failed"}
        and list(plans) == ["supcon"]
    )


def test_validation_chooses_and_the_test_reports():
    measured = {"start": [of([0, 0])], "a": [of([1, 1])], "b": [of([1, 0])]}
    rows = rows_of(measured, {"a": 0.1, "b": 0.1}, {}, {"a": 0.5, "b": 0.6})
    assert rows[0].loss == "a" and chosen(rows).loss == "b"
    assert "| b | 1 | 0.1 | 60.0 | 50.0 |" in markdown(
        rows
    ) and "| start | 1 |  |  | 0.0 |" in markdown(rows)


def test_a_run_that_fails_is_told_with_its_words(pictures, tmp_path):
    with pytest.raises(UserError) as error:
        compare_losses.main(argv(pictures, tmp_path, "--batch-size", "640"))
    assert error.value.code == 2 and "fewer than one global batch of 640" in error.value.text()
