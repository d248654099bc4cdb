"""Metrics as components: their declarations, their numbers, and a metric of the user's own."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import hardpairs.metrics
from hardpairs.core.components import Registry
from hardpairs.core.errors import UserError
from hardpairs.metrics import METRICS, all_values, base, lower_is_better
from hardpairs.metrics.base import MetricInputs, compute_all
from hardpairs.metrics.linkage import single_linkage
from hardpairs.metrics.retrieval import retrieval_metrics

OWN = '''
from hardpairs.core.components import register
from hardpairs.metrics.base import Metric

@register("spread")
class Spread(Metric):
    """Mean distance of images to their mean."""

    values = ("spread",)
    lower_is_better = ("spread",)

    def compute(self, inputs):
        return {"spread": float(abs(inputs.image - inputs.image.mean(axis=0)).mean())}
'''


def inputs(embeddings, labels, has_label=None):
    """Rows that are images and texts at once, each once."""
    rows = np.asarray(embeddings, np.float32)
    known = np.ones(len(rows), bool) if has_label is None else np.asarray(has_label)
    ids = np.arange(len(rows))
    return MetricInputs(rows, rows, rows, np.asarray(labels), known, ids, ids)


def circle():
    """Two pairs of near rows and a single one, (5, 2)."""
    rows = np.array([[1, 0], [0.99, 0.1], [0, 1], [0.1, 0.99], [-1, 0.0]])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("name", METRICS)
def test_declarations_are_what_the_classes_are(name):
    declared, metric = METRICS[name], METRICS.load(name)
    assert metric.name == name and metric.values == declared.attributes["values"]
    for attribute in ("lower_is_better", "needs_labels"):
        default = getattr(base.Metric, attribute)
        assert getattr(metric, attribute) == declared.attributes.get(attribute, default)
    assert set(metric().compute(inputs(circle(), [7, 7, 3, 3, 9]))) == set(metric.values)


def test_values_by_label_and_direction():
    assert set(all_values()) == {*all_values(needs_labels=True), *all_values(needs_labels=False)}
    assert set(all_values(needs_labels=True)) == {"ari", "top-1", "mAP", "R-precision"}
    assert lower_is_better("image_to_text_mean_rank") and not lower_is_better("mean_R@1")


def test_numbers_of_labels_by_hand():
    """The best of all cuts is tried by brute force."""
    rows, labels = circle(), np.array([7, 7, 3, 3, 9])
    numbers = compute_all(inputs(rows, labels))
    tree = single_linkage(rows)
    cuts = [tree.labels(height) for height in [0, *tree.heights]]
    assert numbers["ari"] == max(adjusted_rand_score(labels, cut) for cut in cuts) == 1
    assert numbers["top-1"] == numbers["mAP"] == numbers["R-precision"] == 1  # the fifth is alone


def test_rows_without_a_label_and_labels_that_do_not_repeat():
    labels = [7, 3, 7, 3, 9]  # wrong in every pair
    assert compute_all(inputs(circle(), labels))["top-1"] == 0
    unlabeled = inputs(circle(), labels, [True, False, False, True, True])
    assert compute_all(unlabeled).keys() == set(all_values(needs_labels=False))


def test_labels_of_one_image_each_are_not_measured():
    """Rows of one image differ in captions alone: their image embeddings always agree."""
    rows = np.repeat(circle(), 2, axis=0).astype(np.float32)
    ids, known = np.arange(5).repeat(2), np.ones(10, bool)
    alone = MetricInputs(rows, rows, rows, ids, known, ids, np.arange(10))
    assert compute_all(alone).keys() == set(all_values(needs_labels=False))
    pooled = MetricInputs(rows, rows, rows + 0, ids, known, ids, np.arange(10))
    assert "top-1" in compute_all(pooled)  # captions are a part of what is compared
    two = MetricInputs(rows, rows, rows, ids // 2, known, ids, np.arange(10))
    assert "top-1" in compute_all(two)


def test_images_and_texts_of_a_group_count_once():
    """Three rows of one image with three texts, and another pair: the image asks once."""
    rng = np.random.default_rng(0)
    image, text = (rng.normal(size=(4, 8)).astype(np.float32) for _ in range(2))
    image[:3] = image[0]
    groups, image_ids = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 1])
    known = np.zeros(4, bool)
    found = compute_all(MetricInputs(image, text, image, groups, known, image_ids, np.arange(4)))
    expected = retrieval_metrics(image[[0, 3]], text, np.array([0, 1]), groups)
    assert {name: expected[name] for name in found if name != "mean_R@1"} == {
        name: value for name, value in found.items() if name != "mean_R@1"
    }


def test_a_metric_of_a_package_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "own_metrics").mkdir()
    (tmp_path / "own_metrics/__init__.py").write_text("")
    (tmp_path / "own_metrics/spread.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    for module in (hardpairs.metrics, base):
        monkeypatch.setattr(module, "METRICS", Registry("metric", "own_metrics", "none"))
    assert all_values() == ("spread",) and lower_is_better("spread")
    assert compute_all(inputs(np.eye(2), [0, 1])) == {"spread": 0.5}


def test_public_names_are_imported_when_they_are_used():
    assert hardpairs.metrics.retrieval_metrics is retrieval_metrics
    assert hardpairs.metrics.single_linkage is single_linkage
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        hardpairs.metrics.nothing  # noqa: B018


def test_two_metrics_with_one_number(tmp_path, monkeypatch):
    (tmp_path / "twice_metrics").mkdir()
    (tmp_path / "twice_metrics/__init__.py").write_text("")
    for name in ("spread", "width"):
        text = OWN.replace('@register("spread")', f'@register("{name}")')
        (tmp_path / f"twice_metrics/{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(hardpairs.metrics, "METRICS", Registry("metric", "twice_metrics", "none"))
    with pytest.raises(UserError, match="spread and width both have a number 'spread'"):
        all_values()
