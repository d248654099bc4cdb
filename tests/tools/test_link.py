"""tools.link: clusters with a threshold from labels of their own, links to a reference list, the page."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from evaluation.pooling import best_weight, pooled
from formats.embeddings import write_embeddings
from formats.errors import UserError
from formats.samples import open_samples
from tests.helpers import picture
from tools.link import main
from tools.linking.choose import split_by_label


@pytest.fixture
def news(tmp_path):
    """(folder of embeddings, CSV): 30 stories of three rows, the text noisier than the picture; two rows without a label, one with 999."""
    rng = np.random.default_rng(0)
    story = np.repeat(np.arange(30), 3)
    with open(tmp_path / "news.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "text", "label"])
        for i, label in enumerate(story):
            (tmp_path / f"{i}.jpg").write_bytes(picture(i))
            writer.writerow([tmp_path / f"{i}.jpg", f"<b>story</b> {i}", {0: "", 4: "", 7: "999"}.get(i, f"s{label}")])
    centres = rng.normal(size=(30, 32))
    image, text = (centres[story] + noise * rng.normal(size=(90, 32)) for noise in (0.3, 1.5))
    samples = open_samples(tmp_path / "news.csv", image_key="image_path", caption_key="text")
    write_embeddings(
        tmp_path / "emb",
        image=image.astype(np.float32),
        text=text.astype(np.float32),
        rows=np.arange(90),
        captions=list(samples.captions),
        keys=list(samples.keys),
        groups=samples.groups,
        manifest={"dataset_fingerprint": samples.fingerprint, "num_samples": 90},
    )
    return tmp_path, story


def flags(folder, *more):
    table = ("--csv-img-key", "image_path", "--csv-caption-key", "text", "--csv-label-key", "label", "--unlabelled", "999")
    return ["--embeddings", f"{folder}/emb", "--data", f"{folder}/news.csv", *table, "--out", f"{folder}/out", *more]


def test_threshold_and_weight_come_from_other_labels_than_the_report(news, capsys):
    folder, story = news
    assert main(flags(folder, "--opt-im-wt", "--compare")) == 0
    told = json.loads(capsys.readouterr().out)
    record = json.loads((folder / "out/linkage.json").read_text())
    assert record["test"]["ari"] == told["test"]["ari"] > 0.9 and record["image_weight"] > 0.5
    assert record["test"]["labels"] == 18 and 51 <= record["test"]["labelled_rows"] <= 54
    low, high = record["plateau"]
    assert low <= record["threshold"] <= high
    assert set(record["others"]) == {"dbscan", "average_linkage", "hdbscan"} and record["others"]["dbscan"] == record["test"]
    with open(folder / "out/clusters.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 90 and adjusted_rand_score(story, [int(row["cluster"]) for row in rows]) > 0.9
    cuts = np.genfromtxt(folder / "out/cuts.csv", delimiter=",", names=True)
    assert cuts["ari"].max() == pytest.approx(record["validation_ari"]) and cuts["clusters"][0] == 90 and cuts["clusters"][-1] == 1


def test_a_given_threshold_is_used_as_it_is(news, capsys):
    folder, _ = news
    assert main(flags(folder, "--specified_thresh", "2", "--im_wt", "1", "--split_test_for_eval")) == 0
    assert json.loads(capsys.readouterr().out)["all"]["clusters"] == 1
    unlabelled = ["--embeddings", f"{folder}/emb", "--out", f"{folder}/plain", "--threshold", "0.2", "--im-wt", "1"]
    assert main(unlabelled) == 0
    told = json.loads(capsys.readouterr().out)
    assert 25 <= told["all"]["clusters"] <= 40 and "ari" not in told["all"]


def test_the_page_shows_clusters_and_escapes_captions(news):
    folder, _ = news
    assert main(flags(folder, "--im-wt", "1", "--html", f"{folder}/page.html")) == 0
    page = (folder / "page.html").read_text()
    assert page.count('class="cluster"') >= 20 and "data:image/jpeg" in page and "&lt;b&gt;story" in page and "<b>story" not in page
    assert "labels not chosen by" in page and "http" not in page.split("</style>")[1]


def test_links_to_a_reference_list(news, capsys):
    folder, _ = news
    assert main([*flags(folder, "--im-wt", "1"), "--reference", f"{folder}/emb", "--reference-data", f"{folder}/news.csv", "--k", "3"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["precision@1"] == 1 and told["hit@3"] == 1 and 0.8 < told["precision@3"] <= 1 and told["queries"] == 87
    with open(folder / "out/links.csv") as file:
        links = list(csv.DictReader(file))
    assert len(links) == 270 and links[0]["row"] == links[0]["reference_row"] == "0" and float(links[0]["score"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--im-wt", "2"), 2, "must be in [0, 1]"),
        (("--threshold", "0.2", "--opt-im-wt"), 2, "leave --opt-im-wt out"),
        (("--model", "x"), 2, "either --embeddings, or --model"),
        (("--csv-label-key", "nolabel"), 3, "no column 'nolabel'"),
        (("--unlabelled", "999", *(f"s{i}" for i in range(30))), 3, "no row has a label"),
        (("--embeddings", "EMPTY"), 2, "no such folder"),
    ],
)
def test_wrong_input(news, more, code, says):
    folder, _ = news
    with pytest.raises(UserError, match=None) as error:
        main(flags(folder, *(f"{folder}/nothing" if word == "EMPTY" else word for word in more)))
    assert error.value.code == code and says in error.value.text()


def test_embeddings_of_other_data_are_refused(news):
    folder, _ = news
    lines = (folder / "news.csv").read_text().splitlines()
    (folder / "news.csv").write_text("\n".join([*lines[:-1], lines[-1].replace("story", "tale")]) + "\n")
    with pytest.raises(UserError) as error:
        main(flags(folder))
    assert error.value.code == 4


def test_labels_are_split_whole():
    labels = np.array([0, 0, 1, 1, 2, 3, 4, -1, 4, 2])
    validation, test = split_by_label(labels, 0.4, 42)
    assert len(np.unique(validation[validation >= 0])) == 2 and len(np.unique(test[test >= 0])) == 3
    assert ((validation >= 0) ^ (test >= 0))[labels >= 0].all() and validation[7] == test[7] == -1


def test_pooling():
    image, text = np.eye(3, dtype=np.float32), -np.eye(3, dtype=np.float32)[[0, 2, 1]]
    rows = pooled(image, text, 0.5)
    assert rows[0].tolist() == [1, 0, 0]  # the parts cancel out: the picture's row
    np.testing.assert_allclose(rows[1], [0, 0.5**0.5, -(0.5**0.5)], rtol=1e-6)
    with pytest.raises(ValueError, match="must be in"):
        pooled(image, text, 1.5)
    with pytest.raises(ValueError, match="one space"):
        pooled(image, text[:, :2], 0.5)


def test_the_best_weight_is_found_between_grid_points():
    weight, tried = best_weight(lambda w: -((w - 0.637) ** 2))
    assert abs(weight - 0.637) < 0.01 and len(tried) < 25 and list(tried) == sorted(tried)
    assert best_weight(lambda w: 1.0)[0] == pytest.approx(0.5, abs=0.06)  # all equal: the middle


def test_the_best_of_several_checkpoints(news, checkpoint, capsys):
    folder, _ = news
    for name in ("a.pt", "b.pt"):
        (folder / name).write_bytes(checkpoint.read_bytes())
    with_model = flags(folder, "--model", "hardpairs-test", "--pretrained", f"{folder}/[ab].pt", "--im-wt", "1")[2:]
    assert main(with_model) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(told["checkpoints"]) == [f"{folder}/a.pt", f"{folder}/b.pt"] and told["test"]["labels"] == 18
    with pytest.raises(UserError, match="no checkpoint matches"):
        main(flags(folder, "--model", "hardpairs-test", "--pretrained", f"{folder}/x*.pt")[2:])


def test_rows_without_a_direction_are_named(news):
    folder, _ = news
    image = np.load(folder / "emb/img_emb/img_emb_0.npy")
    image[5] = np.nan
    np.save(folder / "img_emb_0.npy", image)
    (folder / "plain/img_emb").mkdir(parents=True)
    (folder / "plain/text_emb").mkdir()
    (folder / "img_emb_0.npy").rename(folder / "plain/img_emb/img_emb_0.npy")
    (folder / "plain/text_emb/text_emb_0.npy").write_bytes((folder / "emb/text_emb/text_emb_0.npy").read_bytes())
    with pytest.raises(UserError, match="zero or not finite") as error:
        main(["--embeddings", f"{folder}/plain", "--threshold", "0.2", "--out", f"{folder}/out"])
    assert error.value.code == 6 and "[5]" in error.value.text()


def test_a_head_links_by_what_it_was_trained_for(news, tmp_path, capsys):
    """An MLP head's output, from the checkpoint; by itself where the head has layers, and not where mean is asked for."""
    import torch

    from training.metric.head import EmbeddingHead, embed_with

    folder, _ = news
    torch.manual_seed(0)
    head = EmbeddingHead("mlp", 32, projection=8)
    state = {f"embedding_head.{name}": value for name, value in head.state_dict().items()}
    torch.save({"state_dict": state, "embedding_head": head.options}, tmp_path / "epoch_1.pt")
    assert main(flags(folder, "--head", str(tmp_path / "epoch_1.pt"))) == 0
    by_head = json.loads(capsys.readouterr().out)
    assert by_head["image_weight"] == "head"
    assert main(flags(folder, "--pooling-type", "mean")) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] != by_head["threshold"]
    unit = torch.nn.functional.normalize(torch.randn(5, 32), dim=1).numpy()
    assert embed_with(head.eval(), unit, unit).shape == (5, 8)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--pooling-type", "mlp"), "no checkpoint with a head"),
        (("--pooling-type", "mean", "--head", "x.pt"), "contradict each other"),
    ],
)
def test_heads_that_are_not_there(news, more, says):
    with pytest.raises(UserError, match=says):
        main(flags(news[0], *more))
