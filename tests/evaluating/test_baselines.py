"""tools.evaluate beside its baselines: one entry per picture, what is written where, and the rows of the tables by hand."""

import csv
import json

import numpy as np
import pytest

from hardpairs.cli.evaluate import main
from hardpairs.core.errors import UserError
from hardpairs.data.samples import open_samples
from hardpairs.embedding.stream import Embedded
from hardpairs.evaluating.baselines import baselines, miniclip
from hardpairs.evaluating.drawn import CAPTIONS as CAPTIONS_DRAWN
from hardpairs.evaluating.drawn import drawn, read_drawn, write_drawn
from hardpairs.evaluating.results import file_label, numbers
from hardpairs.evaluating.retrieval import evaluate
from hardpairs.evaluating.tables import tables
from hardpairs.metrics.retrieval import first_of_each
from tests.photos.runs import embedded, write_photos


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


def flags(data, checkpoint, *more):
    common = [
        "--model",
        "hardpairs-test",
        "--pretrained",
        str(checkpoint),
        "--data",
        str(data),
        "--out",
        str(data.parent / "run"),
    ]
    return [*common, "--workers", "0", "--device", "cpu", "--method", "lstm", *more]


def test_an_image_with_two_captions_is_one_item_of_the_gallery(photos):
    """The model takes images 0 and 1 for each other: each caption of theirs has one wrong image before its own, not two rows of it."""
    samples = open_samples(photos)
    image = np.repeat(np.eye(6, dtype=np.float32), 2, axis=0)
    text = image[[2, 3, 0, 1, *range(4, 12)]]
    text[:4] += 0.5 * image[:4]
    metrics, arrays = evaluate(
        samples,
        Embedded(image, text / np.linalg.norm(text, axis=1, keepdims=True), np.arange(12), {}),
        None,
    )
    assert (
        metrics["images"] == 6
        and metrics["texts"] == 12
        and arrays["image_rows"].tolist() == [0, 2, 4, 6, 8, 10]
    )
    assert arrays["text_to_image_ranks"].tolist() == [2, 2, 2, 2] + [1] * 8
    assert arrays["image_to_text_ranks"].tolist() == [
        3,
        3,
        1,
        1,
        1,
        1,
    ]  # the other image's two captions are before
    assert set(arrays["text_to_image_top"].ravel()) == {0, 2, 4, 6, 8, 10}


def test_first_of_each():
    assert first_of_each(np.array([3, 3, 1, 3]), np.array([0, 1, 0, 0])).tolist() == [0, 1, 2]


def test_our_protocol_is_miniclips_where_nothing_ties_or_repeats(photos):
    samples = open_samples(photos)
    rows = embedded(samples, noise=2.0)
    ours, theirs = evaluate(samples, rows, None)[0], miniclip(samples, rows)
    for k in (1, 5, 10):
        assert theirs[f"R@{k}"] == pytest.approx(100 * ours[f"text_to_image_R@{k}"])
    assert (
        theirs["MRR"] == pytest.approx(ours["text_to_image_MRR"])
        and theirs["MedR"] == ours["text_to_image_median_rank"]
    )
    assert 0 < theirs["R@1"] < 100


def test_baselines_by_hand(photos):
    samples = open_samples(photos)
    found = baselines(samples, np.arange(12))
    assert found["texts_without_another"] == 0
    # "cup" stands with images 0, 1 ("Cup") and 5, all other captions with one image
    assert found["ceiling"]["text_to_image_R@1"] == pytest.approx((9 + 1) / 12)
    assert found["ceiling"]["text_to_image_MRR"] == pytest.approx((9 + 1 + 1 / 2 + 1 / 3) / 12)
    assert found["ceiling"]["image_to_text_R@1"] == 1  # each image has a caption of its own
    assert found["baselines"]["random"]["text_to_image_R@1"] == pytest.approx(1 / 6)
    assert found["baselines"]["random"]["image_to_text_R@5"] == pytest.approx(
        1 - (10 * 9 * 8 * 7 * 6) / (12 * 11 * 10 * 9 * 8)
    )
    words = found["baselines"]["bag_of_words"]
    # "red cup" and "blue cup": their own "cup" ties with the two other images' cups. "cup", "Cup" (of 0 and 1): the others' "cup" is better than
    # "red cup". Trees find each other; "dog" is nearer to "dog $x^2$" than to "dog in snow", which finds "snow" and "dog" alike. The hand has
    # no word but its own, so that all six images tie; the cup of image 5 finds two others' first, and ties with three that have none
    ranks = {
        "optimistic": [1, 3, 1, 3, 1, 1, 1, 1, 1, 1, 1, 3],
        "pessimistic": [3, 3, 3, 3, 1, 1, 1, 1, 2, 1, 6, 6],
    }
    for ties, of_ties in ranks.items():
        assert words[ties]["text_to_image_R@1"] == pytest.approx(of_ties.count(1) / 12)
        assert words[ties]["text_to_image_MRR"] == pytest.approx(
            np.mean([1 / rank for rank in of_ties])
        )
        assert words[ties]["text_to_image_median_rank"] == np.median(of_ties)
    assert words["expected"]["text_to_image_R@1"] == pytest.approx((2 / 3 + 5 + 1 / 2 + 1 / 6) / 12)
    assert not any("mAP" in name for name in words["expected"])


def test_captions_that_are_alone(tmp_path):
    data = write_photos(tmp_path, [["cup"], ["tree"], ["a dog"]])
    found = baselines(open_samples(data), np.arange(3))
    assert set(found["baselines"]) == {"random"} and found["texts_without_another"] == 3
    mixed = write_photos(tmp_path / "mixed", [["cup", "CUP!"], ["tree", "fir"]])
    found = baselines(open_samples(mixed), np.arange(4))
    assert found["texts_without_another"] == 2 and set(found["baselines"]) == {
        "random",
        "bm25",
        "bag_of_words",
    }


def test_two_images_with_one_caption_tie_as_asked(tmp_path):
    samples = open_samples(write_photos(tmp_path, [["cup"], ["Cup"], ["tree"]]))
    ceilings = {
        ties: baselines(samples, np.arange(3), ties=ties)["ceiling"]
        for ties in ("pessimistic", "expected")
    }
    assert ceilings["pessimistic"]["image_to_text_R@1"] == pytest.approx(1 / 3)
    assert (
        ceilings["expected"]["image_to_text_R@1"]
        == pytest.approx(2 / 3)
        == ceilings["pessimistic"]["text_to_image_R@1"]
    )


def test_one_image(tmp_path):
    data = write_photos(tmp_path, [["cup", "red cup"]])
    samples = open_samples(data)
    rows = embedded(samples, noise=1.0)
    assert evaluate(samples, rows, None)[0]["text_to_image_R@1"] == 1
    assert baselines(samples, rows.rows)["baselines"]["random"]["text_to_image_MRR"] == 1
    assert miniclip(samples, rows)["MedR"] == 1


def test_command_writes_all_of_it(photos, checkpoint, capsys):
    results = photos.parent / "results"
    command = flags(
        photos, checkpoint, "--baselines", "--protocol", "both", "--results_dir", str(results)
    )
    assert main(command) == 0
    told = capsys.readouterr()
    stdout, record = (
        json.loads(told.out),
        json.loads((photos.parent / "run/evaluation.json").read_text()),
    )
    assert {
        "baselines",
        "ceiling",
        "miniclip",
        "texts_without_another",
    } <= stdout.keys() and record["miniclip"] == stdout["miniclip"]
    assert (
        "BM25 on other captions" in told.err
        and "MiniCLIP's protocol" in told.err
        and "ceiling (captions repeat)" in told.err
    )
    assert "DEBUG" not in told.err
    with open(photos.parent / "run/evaluation.csv") as file:
        flat = {row["metric"]: float(row["value"]) for row in csv.DictReader(file)}
    assert (
        flat["baselines.random.text_to_image_R@1"] == pytest.approx(1 / 6)
        and flat["miniclip.R@1"] == record["miniclip"]["R@1"]
    )
    assert (
        flat["baselines.bm25.expected.text_to_image_MRR"]
        == record["baselines"]["bm25"]["expected"]["text_to_image_MRR"]
    )
    assert "bag of words" in (photos.parent / "run/evaluation.md").read_text()
    seeds = json.loads((results / "metrics_lstm.json").read_text())
    assert seeds["model_type"] == "lstm" and set(seeds["test_metrics"]) == {
        "R@1",
        "R@5",
        "R@10",
        "MRR",
        "MedR",
    }
    assert seeds["baselines"]["random"]["R@1"] == pytest.approx(100 / 6) and set(
        seeds["baselines"]["bow"]
    ) == {"R@1", "R@5", "R@10", "MRR"}
    assert seeds["training"] == {} and seeds["config"]["model"] == "hardpairs-test"
    assert read_drawn(photos.parent / "run")["image"].shape[0] == 6


def test_command_without_asking_is_as_it_was(photos, checkpoint, capsys):
    assert main(flags(photos, checkpoint)) == 0
    told = capsys.readouterr()
    assert (
        not {"baselines", "ceiling", "miniclip"} & json.loads(told.out).keys()
        and "|" not in told.err
    )
    assert main(flags(photos, checkpoint, "--protocol", "miniclip")) == 0
    told = capsys.readouterr()
    assert "MiniCLIP's protocol" in told.err and "image → text" not in told.err
    assert "image_to_text_R@1" in json.loads(told.out)  # the report needs ours


def test_baselines_without_data_are_refused(tmp_path, checkpoint):
    for more in (["--baselines"], ["--protocol", "both"], ["--results-dir", "x"]):
        with pytest.raises(UserError, match="about retrieval") as error:
            main(
                [
                    "--model",
                    "hardpairs-test",
                    "--zero-shot",
                    str(tmp_path),
                    "--out",
                    str(tmp_path),
                    *more,
                ]
            )
        assert error.value.code == 2


def test_nan_embeddings_end_with_their_own_code(photos):
    samples = open_samples(photos)
    rows = embedded(samples, noise=1.0)
    rows.text[3, 2] = np.nan
    for measure in (lambda: evaluate(samples, rows, None), lambda: miniclip(samples, rows)):
        with pytest.raises(UserError) as error:
            measure()
        assert error.value.code == 6


def test_tables_show_bounds_and_leave_out_what_is_not_there(photos):
    samples = open_samples(photos)
    rows = embedded(samples, noise=1.0)
    record = {"ties": "expected", **evaluate(samples, rows, None)[0]}
    plain = tables(record, "both")
    assert "text → image: 12 captions ask, 6 images are ranked, ties as their expectation" in plain
    assert "ceiling" not in plain and "MiniCLIP" not in plain and "brackets" not in plain
    bounds = {"pessimistic": 0.1, "expected": 0.25, "optimistic": 0.5}
    record |= {
        "baselines": {
            "bm25": {
                ties: {"text_to_image_R@1": v, "text_to_image_median_rank": 1 / v}
                for ties, v in bounds.items()
            }
        }
    }
    shown = tables(record, "ours")
    assert "25.0 (10.0 to 50.0)" in shown and "4 (2 to 10)" in shown and "brackets" in shown
    assert shown.count("BM25") == 1  # it answers captions alone


def test_drawn_rows_belong_together(tmp_path):
    data = write_photos(
        tmp_path, [[f"thing {i}", f"thing {i}", f"object {i}", f"item {i}"] for i in range(40)]
    )
    samples = open_samples(data)
    rows = embedded(samples, noise=0.1)
    found = drawn(samples, rows)
    assert len(found["image_rows"]) == 30 == len(set(samples.groups[found["image_rows"]]))
    assert len(found["text_rows"]) == 30 * CAPTIONS_DRAWN  # different captions: "thing" once
    assert (
        samples.groups[found["text_rows"]]
        == samples.groups[found["image_rows"]][found["text_image"]]
    ).all()
    assert np.array_equal(found["text"], rows.text[found["text_rows"]])
    write_drawn(tmp_path, found)
    assert all(np.array_equal(found[name], values) for name, values in read_drawn(tmp_path).items())
    (tmp_path / "drawn.npz").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"drawn\.npz") as error:
        read_drawn(tmp_path)
    assert error.value.code == 3


def test_names_of_files_and_numbers():
    assert (
        file_label("../../etc/passwd") == "etc_passwd"
        and file_label("///") == "model"
        and file_label("Réseau 2") == "Réseau_2"
    )
    assert dict(numbers({"a": {"b": {"c": 1}}, "d": True, "e": "text", "f": 0.5})) == {
        "a.b.c": 1,
        "f": 0.5,
    }
