"""tools.link: clusters with a threshold from labels of their own, links to a reference list, the page."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from hardpairs.cli.link import main
from hardpairs.core.errors import UserError
from hardpairs.data.embeddings import write_embeddings
from hardpairs.data.samples import open_samples
from hardpairs.linking.choose import mean_cosine, row_labels, split_by_label
from hardpairs.metrics.pooling import best_weight, pooled
from tests.helpers import picture


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
            writer.writerow(
                [
                    tmp_path / f"{i}.jpg",
                    f"<b>story</b> {i}",
                    {0: "", 4: "", 7: "999"}.get(i, f"s{label}"),
                ]
            )
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
    table = (
        "--csv-img-key",
        "image_path",
        "--csv-caption-key",
        "text",
        "--csv-label-key",
        "label",
        "--unlabelled",
        "999",
    )
    return [
        "--embeddings",
        f"{folder}/emb",
        "--data",
        f"{folder}/news.csv",
        *table,
        "--out",
        f"{folder}/out",
        *more,
    ]


def write_opposed(folder, image_of_others):
    """(label of each row, whether to choose by it): ten stories of two rows, and embeddings in which the four to choose by want other settings than the
    other six.

    Pictures of a story to choose by are 60 degrees apart, those of the others as ``image_of_others`` has them: (count, 80) rows of stories a a b b and so
    on. Texts are equal in the other six stories, and between different stories of the four.
    """
    story = np.repeat(np.arange(10), 2)
    with open(folder / "news.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(
            [
                ["image_path", "text", "label"],
                *([f"{row}.jpg", f"text {row}", f"s{label}"] for row, label in enumerate(story)),
            ]
        )
    samples = open_samples(
        folder / "news.csv", image_key="image_path", caption_key="text", group_key="label"
    )
    labels = row_labels(samples, np.arange(20))
    chosen_by = split_by_label(labels, 0.4, 42)[0] >= 0
    image = np.eye(80, dtype=np.float32)[40 + 2 * story]
    second = np.flatnonzero(chosen_by)[1::2]
    image[second] = (
        0.5 * image[second] + 0.75**0.5 * np.eye(80, dtype=np.float32)[41 + 2 * story[second]]
    )
    image[~chosen_by] = image_of_others(12)
    text = np.eye(80, dtype=np.float32)[40 + 2 * story]
    text[chosen_by] = crossed(8)
    write_embeddings(
        folder / "emb",
        image=image,
        text=text,
        rows=np.arange(20),
        captions=list(samples.captions),
        keys=list(samples.keys),
        groups=samples.groups,
        manifest={
            "dataset_fingerprint": samples.fingerprint,
            "num_samples": 20,
            "weights": "sha256:0",
        },
    )
    return labels, chosen_by


def crossed(count):
    """Rows of stories a a b b: each row of a is equal to one of b."""
    return np.eye(80, dtype=np.float32)[[row // 4 * 2 + row % 2 for row in range(count)]]


def fanned(count):
    """Rows of stories a a b b, in a plane at 0, 20, 45 and 65 degrees."""
    angles = np.radians(np.array([0, 20, 45, 65])[np.arange(count) % 4])
    plane = (
        np.eye(80, dtype=np.float32)[np.arange(count) // 4 * 2],
        np.eye(80, dtype=np.float32)[np.arange(count) // 4 * 2 + 1],
    )
    return np.cos(angles)[:, None] * plane[0] + np.sin(angles)[:, None] * plane[1]


def test_the_threshold_is_chosen_on_labels_that_the_report_does_not_use(tmp_path, capsys):
    """On all labels the best cut is below 1 - cos 25 degrees, where six stories of ten are right."""
    labels, chosen_by = write_opposed(tmp_path, fanned)
    assert main(flags(tmp_path, "--im-wt", "1")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (
        told["plateau"] == pytest.approx([0.5, 1.0])
        and told["threshold"] == pytest.approx(0.75)
        and told["validation_ari"] == 1
    )
    with open(tmp_path / "out/clusters.csv") as file:
        clusters = np.array([int(row["cluster"]) for row in csv.DictReader(file)])
    assert told["test"]["ari"] == pytest.approx(
        adjusted_rand_score(labels[~chosen_by], clusters[~chosen_by])
    )
    assert (
        told["test"]["labelled_rows"] == 12
        and told["test"]["ari"] < 0.6 < 1 == score_at(tmp_path, 0.07, capsys)["test"]["ari"]
    )
    assert score_at(tmp_path, 0.07, capsys)["all"]["ari"] > told["all"]["ari"]


def score_at(folder, threshold, capsys):
    assert main(flags(folder, "--im-wt", "1", "--threshold", str(threshold))) == 0
    return json.loads(capsys.readouterr().out)


def test_the_weight_is_chosen_on_labels_that_the_report_does_not_use(tmp_path, capsys):
    """On all labels the texts are the better ones: they are right about six stories of ten."""
    write_opposed(tmp_path, crossed)
    assert main(flags(tmp_path, "--opt-im-wt")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["image_weight"] > 0.5 and told["validation_ari"] == 1 and told["test"]["ari"] < 0
    assert main(flags(tmp_path, "--im-wt", "0", "--threshold", "0.1")) == 0
    by_text = json.loads(capsys.readouterr().out)
    assert by_text["test"]["ari"] == 1 and by_text["all"]["ari"] > told["all"]["ari"]


def test_clusters_and_cuts_are_written(news, capsys):
    folder, story = news
    assert main(flags(folder, "--opt-im-wt", "--compare")) == 0
    told = json.loads(capsys.readouterr().out)
    record = json.loads((folder / "out/linkage.json").read_text())
    assert record["test"]["ari"] == told["test"]["ari"] > 0.9 and record["image_weight"] > 0.5
    assert record["test"]["labels"] == 18 and 51 <= record["test"]["labelled_rows"] <= 54
    low, high = record["plateau"]
    assert low <= record["threshold"] <= high
    assert (
        set(record["others"]) == {"dbscan", "average_linkage", "hdbscan"}
        and record["others"]["dbscan"] == record["test"]
    )
    with open(folder / "out/clusters.csv") as file:
        rows = list(csv.DictReader(file))
    assert (
        len(rows) == 90 and adjusted_rand_score(story, [int(row["cluster"]) for row in rows]) > 0.9
    )
    cuts = np.genfromtxt(folder / "out/cuts.csv", delimiter=",", names=True)
    assert (
        cuts["ari"].max() == pytest.approx(record["validation_ari"])
        and cuts["clusters"][0] == 90
        and cuts["clusters"][-1] == 1
    )


def test_a_given_threshold_is_used_as_it_is(news, capsys):
    folder, _ = news
    assert (
        main(flags(folder, "--specified_thresh", "2", "--im_wt", "1", "--split_test_for_eval")) == 0
    )
    assert json.loads(capsys.readouterr().out)["all"]["clusters"] == 1
    unlabelled = [
        "--embeddings",
        f"{folder}/emb",
        "--out",
        f"{folder}/plain",
        "--threshold",
        "0.2",
        "--im-wt",
        "1",
    ]
    assert main(unlabelled) == 0
    told = json.loads(capsys.readouterr().out)
    assert 25 <= told["all"]["clusters"] <= 40 and "ari" not in told["all"]


def test_the_page_shows_clusters_and_escapes_captions(news):
    folder, _ = news
    assert main(flags(folder, "--im-wt", "1", "--html", f"{folder}/page.html")) == 0
    page = (folder / "page.html").read_text()
    assert (
        page.count('class="cluster"') >= 20
        and "data:image/jpeg" in page
        and "&lt;b&gt;story" in page
        and "<b>story" not in page
    )
    assert "labels not chosen by" in page and "http" not in page.split("</style>")[1]


def test_links_to_a_reference_list(news, capsys):
    folder, _ = news
    assert (
        main(
            [
                *flags(folder, "--im-wt", "1"),
                "--reference",
                f"{folder}/emb",
                "--reference-data",
                f"{folder}/news.csv",
                "--k",
                "3",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert (
        told["precision@1"] == 1
        and told["hit@3"] == 1
        and 0.8 < told["precision@3"] <= 1
        and told["queries"] == 87
    )
    with open(folder / "out/links.csv") as file:
        links = list(csv.DictReader(file))
    assert (
        len(links) == 270
        and links[0]["row"] == links[0]["reference_row"] == "0"
        and float(links[0]["score"]) == pytest.approx(1)
    )


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--im-wt", "2"), 2, "must be in [0, 1]"),
        (("--threshold", "0.2", "--opt-im-wt"), 2, "leave --opt-im-wt out"),
        (("--model", "x"), 2, "either --embeddings, or --model"),
        (("--csv-label-key", "nolabel"), 3, "no column 'nolabel'"),
        (
            ("--unlabelled", "999", *(f"s{i}" for i in range(30))),
            3,
            "0 labels of 0 rows to choose a threshold by",
        ),
        (("--csv-label-key", "image_path"), 3, "36 labels of 36 rows to choose a threshold by"),
        (("--val-share", "0.03"), 3, "1 labels of 3 rows to choose a threshold by"),
        (("--reference", "R", "--opt-im-wt"), 2, "--opt-im-wt is about clusters"),
        (("--reference", "R", "--compare"), 2, "--compare is about clusters"),
        (("--reference", "R", "--html", "page.html"), 2, "--html is about clusters"),
        (("--reference", "R", "--threshold", "0"), 2, "--threshold is about clusters"),
        (("--reference-data", "x.csv"), 2, "there is none"),
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
    (folder / "news.csv").write_text(
        "\n".join([*lines[:-1], lines[-1].replace("story", "tale")]) + "\n"
    )
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
    asked = []
    weight, tried = best_weight(lambda w: asked.append(w) or -((w - 0.637) ** 2))
    assert abs(weight - 0.637) < 0.01 and list(tried) == sorted(tried)
    assert (
        sorted(asked) == list(tried) and len(asked) == 11 + 2 + 6
    )  # each once: the grid, two points in .2, one more for each cut of it by .618 to .01
    assert min(np.diff(sorted(asked))) > 0.002  # and none beside a known one
    assert best_weight(lambda w: 1.0)[0] == pytest.approx(0.5, abs=0.06)  # all equal: the middle


@pytest.mark.parametrize("better", ["a", "b"])
def test_the_best_of_several_checkpoints(news, checkpoint, capsys, better):
    """A model, and one that sees one number of each picture: told side by side, with the better one's clusters, wherever it stands in the list."""
    import torch

    folder, story = news
    for row, label in enumerate(story):
        (folder / f"{row}.jpg").write_bytes(picture(label))
    content = torch.load(checkpoint, weights_only=True)
    (folder / f"{better}.pt").write_bytes(checkpoint.read_bytes())
    content["state_dict"]["visual.attnpool.c_proj.weight"][1:] = content["state_dict"][
        "visual.attnpool.c_proj.bias"
    ][1:] = 0
    torch.save(content, folder / ("b.pt" if better == "a" else "a.pt"))
    with_model = flags(
        folder, "--model", "hardpairs-test", "--pretrained", f"{folder}/[ab].pt", "--im-wt", "1"
    )[2:]
    assert main(with_model) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    tried, best = told["checkpoints"], f"{folder}/{better}.pt"
    assert sorted(tried) == [f"{folder}/a.pt", f"{folder}/b.pt"] and told["checkpoint"] == best
    assert (
        tried[best]["validation_ari"]
        == told["validation_ari"]
        > min(found["validation_ari"] for found in tried.values()) + 0.1
    )
    assert tried[best]["test"] == told["test"] and all(
        found["test"]["labels"] == 18 for found in tried.values()
    )
    (line,) = [line for line in printed.err.splitlines() if "best by validation |" in line]
    assert line.startswith(f"| {best} | {told['validation_ari']:.4f} | {told['test']['ari']:.4f} |")
    assert main([*with_model, "--pretrained", best, "--out", f"{folder}/alone"]) == 0
    assert (folder / "alone/clusters.csv").read_bytes() == (
        folder / "out/clusters.csv"
    ).read_bytes()
    with pytest.raises(UserError, match="no checkpoint matches"):
        main(flags(folder, "--model", "hardpairs-test", "--pretrained", f"{folder}/x*.pt")[2:])
    with pytest.raises(UserError, match="which checkpoint is good"):
        main([*with_model, "--threshold", "0.2", "--csv-label-key", "group"])


def test_embeddings_that_are_almost_one_are_warned_of(news, capsys):
    folder, _ = news
    image = np.load(folder / "emb/img_emb/img_emb_0.npy")
    for name, shift in (("spread", 0), ("collapsed", 1000)):
        (folder / f"{name}/img_emb").mkdir(parents=True)
        (folder / f"{name}/text_emb").mkdir()
        np.save(folder / f"{name}/img_emb/img_emb_0.npy", image + shift)
        np.save(folder / f"{name}/text_emb/text_emb_0.npy", image)
        assert (
            main(
                [
                    "--embeddings",
                    f"{folder}/{name}",
                    "--threshold",
                    "0.2",
                    "--im-wt",
                    "1",
                    "--out",
                    f"{folder}/out",
                ]
            )
            == 0
        )
        assert ("almost the same for all" in capsys.readouterr().err) == (name == "collapsed")


def test_mean_cosine_is_that_of_all_pairs():
    rows = np.random.default_rng(0).normal(size=(20, 3)) + 1
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    assert mean_cosine(unit) == pytest.approx(
        np.mean([unit[i] @ unit[j] for i in range(20) for j in range(20) if i != j])
    )
    assert mean_cosine(unit[:1]) == 0


def test_one_query_is_linked_and_one_row_is_no_cluster(news, capsys):
    folder, _ = news
    for side in ("img_emb", "text_emb"):
        (folder / f"one/{side}").mkdir(parents=True)
        np.save(
            folder / f"one/{side}/{side}_0.npy", np.load(folder / f"emb/{side}/{side}_0.npy")[5:6]
        )
    assert (
        main(
            [
                "--embeddings",
                f"{folder}/one",
                "--reference",
                f"{folder}/emb",
                "--out",
                f"{folder}/out",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out) == {"rows": 1, "references": 90}
    with open(folder / "out/links.csv") as file:
        assert [link["reference_row"] for link in csv.DictReader(file)] == ["5"]
    assert (
        main(
            [
                "--embeddings",
                f"{folder}/emb",
                "--reference",
                f"{folder}/one",
                "--out",
                f"{folder}/out",
            ]
        )
        == 0
    )
    with pytest.raises(UserError, match="nothing to link it to") as error:
        main(["--embeddings", f"{folder}/one", "--threshold", "0.2", "--out", f"{folder}/out"])
    assert error.value.code == 3


def test_rows_without_a_direction_are_named(news):
    folder, _ = news
    image = np.load(folder / "emb/img_emb/img_emb_0.npy")
    image[5] = np.nan
    np.save(folder / "img_emb_0.npy", image)
    (folder / "plain/img_emb").mkdir(parents=True)
    (folder / "plain/text_emb").mkdir()
    (folder / "img_emb_0.npy").rename(folder / "plain/img_emb/img_emb_0.npy")
    (folder / "plain/text_emb/text_emb_0.npy").write_bytes(
        (folder / "emb/text_emb/text_emb_0.npy").read_bytes()
    )
    with pytest.raises(UserError, match="zero or not finite") as error:
        main(["--embeddings", f"{folder}/plain", "--threshold", "0.2", "--out", f"{folder}/out"])
    assert error.value.code == 6 and "[5]" in error.value.text()


def test_a_head_links_by_what_it_was_trained_for(news, tmp_path, capsys):
    """An MLP head's output, from the checkpoint; by itself where the head has layers, and not where mean is asked for."""
    import torch

    from hardpairs.models.head import EmbeddingHead, embed_with

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


def with_head(checkpoint, place, head):
    """A checkpoint that carries a head, too."""
    import torch

    content = torch.load(checkpoint, weights_only=True)
    state = {f"embedding_head.{name}": value for name, value in head.state_dict().items()}
    torch.save(
        {
            **content,
            "state_dict": {**content["state_dict"], **state},
            "embedding_head": head.options,
        },
        place,
    )
    return str(place)


@pytest.mark.parametrize("learned", [False, True])
def test_a_pooling_heads_weight_is_used_where_none_is_given(
    news, checkpoint, tmp_path, capsys, learned
):
    from hardpairs.models.head import EmbeddingHead

    folder, _ = news
    place = with_head(
        checkpoint,
        tmp_path / "head.pt",
        EmbeddingHead("pooled", 32, image_weight=0.8, learned=learned),
    )
    with_model = flags(folder, "--model", "hardpairs-test", "--pretrained", place)[2:]
    for more, weight in (((), 0.8), (("--im-wt", "0.3"), 0.3), (("--pooling-type", "mean"), 0.5)):
        assert main([*with_model, *more]) == 0
        printed = capsys.readouterr()
        assert json.loads(printed.out)["image_weight"] == pytest.approx(weight)
        assert ("its head gives the image a weight of 0.800" in printed.err) == (weight == 0.8)


def test_embeddings_of_other_weights_than_the_heads_are_refused(tmp_path):
    import torch

    from hardpairs.models.head import EmbeddingHead

    write_opposed(tmp_path, crossed)
    head = EmbeddingHead("mlp", 80, projection=8)
    state = {f"embedding_head.{name}": value for name, value in head.state_dict().items()}
    torch.save({"state_dict": state, "embedding_head": head.options}, tmp_path / "epoch_1.pt")
    with pytest.raises(UserError, match="embedded by other weights") as error:
        main(flags(tmp_path, "--head", str(tmp_path / "epoch_1.pt")))
    assert error.value.code == 4 and "sha256:0" in error.value.text()


def test_a_list_of_other_weights_is_refused(news, checkpoint, tmp_path):
    folder, _ = news
    (tmp_path / "list").mkdir()
    write_opposed(tmp_path / "list", crossed)
    data = flags(folder, "--model", "hardpairs-test", "--pretrained", str(checkpoint))[2:]
    with pytest.raises(UserError, match="embedded by other weights") as error:
        main([*data, "--reference", f"{tmp_path}/list/emb"])
    assert error.value.code == 4


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
