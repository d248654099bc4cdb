"""The choice of a cut: on labels that the report does not use."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from hardpairs.cli.link import main
from hardpairs.linking.cuts import split_by_label
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
    assert told["test"]["ari"] == pytest.approx(
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
