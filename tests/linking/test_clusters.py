"""Clusters of the best checkpoint, and the files that hold them."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from hardpairs.cli.link import main
from hardpairs.core.errors import UserError
from hardpairs.linking import clusters
from tests.helpers import picture
from tests.linking.stories import flags


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
        and cuts["clusters"][0] == 87 - record["test"]["labelled_rows"]  # the rows that chose
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


def test_brackets_in_the_path_of_a_checkpoint_that_exists(tmp_path):
    path = tmp_path / "runs [1]" / "a.pt"
    path.parent.mkdir()
    path.touch()
    assert clusters._checkpoints(str(path)) == [str(path)]
