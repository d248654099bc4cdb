"""The choice of a cut: on labels that the report does not use."""

import csv
import json

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from hardpairs.cli.link import main
from hardpairs.core.errors import UserError
from hardpairs.linking.cuts import PROTOCOLS, choose_cut, part_agreement, split_by_label
from hardpairs.linking.rows import LinkRows
from tests.linking.stories import crossed, fanned, flags, write_opposed


def test_labels_are_split_whole():
    labels = np.array([0, 0, 1, 1, 2, 3, 4, -1, 4, 2])
    validation, test = split_by_label(labels, 0.4, 42)
    assert len(np.unique(validation[validation >= 0])) == 2 and len(np.unique(test[test >= 0])) == 3
    assert ((validation >= 0) ^ (test >= 0))[labels >= 0].all() and validation[7] == test[7] == -1


def score_at(folder, threshold, capsys):
    assert main(flags(folder, "--im-wt", "1", "--threshold", str(threshold))) == 0
    return json.loads(capsys.readouterr().out)


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
    assert told["test"]["ari"] == pytest.approx(  # no row of one part is near one of the other
        adjusted_rand_score(labels[~chosen_by], clusters[~chosen_by])
    )
    assert (
        told["test"]["labelled_rows"] == 12
        and told["test"]["ari"] < 0.6 < 1 == score_at(tmp_path, 0.07, capsys)["test"]["ari"]
    )
    assert score_at(tmp_path, 0.07, capsys)["all"]["ari"] > told["all"]["ari"]


def test_the_weight_is_chosen_on_labels_that_the_report_does_not_use(tmp_path, capsys):
    """On all labels the texts are the better ones: they are right about six stories of ten."""
    write_opposed(tmp_path, crossed)
    assert main(flags(tmp_path, "--opt-im-wt")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["image_weight"] > 0.5 and told["validation_ari"] == 1 and told["test"]["ari"] < 0
    assert main(flags(tmp_path, "--im-wt", "0", "--threshold", "0.1")) == 0
    by_text = json.loads(capsys.readouterr().out)
    assert by_text["test"]["ari"] == 1 and by_text["all"]["ari"] > told["all"]["ari"]


def test_each_part_is_linked_by_itself():
    """As CLIPPINGS' inference does. A validation story lies between two test stories here."""
    angles = np.radians([0, 5, 40, 45, 20, 25])
    image = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    validation, test = np.array([-1, -1, -1, -1, 2, 2]), np.array([0, 0, 1, 1, -1, -1])
    labels = np.maximum(validation, test)
    rows = LinkRows(image, image, np.arange(6), [""] * 6, labels)
    choice = choose_cut(rows, validation, 1.0, 1 - np.cos(np.radians(22)))
    ari = {name: part_agreement(rows, test, choice, name)["ari"] for name in PROTOCOLS}
    for name, linked in (("parts", test >= 0), ("joint", labels >= 0)):
        model = DBSCAN(eps=choice.threshold, min_samples=1, metric="cosine")
        clusters = model.fit_predict(image[linked])
        counted = test[linked] >= 0
        assert ari[name] == adjusted_rand_score(test[linked][counted], clusters[counted])
    assert ari == {"parts": 1, "joint": 0}


def test_a_threshold_that_is_no_distance_is_refused(tmp_path):
    with pytest.raises(UserError, match="--threshold is a cosine distance from 0 to 2, not -1.0"):
        main(["--embeddings", str(tmp_path), "--threshold", "-1", "--out", str(tmp_path / "out")])
