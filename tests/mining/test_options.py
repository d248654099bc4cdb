"""Every filter, and the law that kept + removed = candidates, against a walk down all rows."""

import numpy as np
import pytest

from hardpairs.mining import hard_pairs
from hardpairs.mining.api import Execution
from hardpairs.mining.engine import kernel
from hardpairs.mining.engine.cpu import CpuEngine
from hardpairs.mining.low_precision import PRECISIONS
from hardpairs.mining.options import REMOVED_BY, MiningOptions
from tests.mining.reference import reference, unit
from tests.mining.searches import assert_same, one_space, search, themed


def checked(image, text, top_k, precision=None, **options):
    """Return the result of a search that equals the reference."""
    execution = Execution(precision=precision)
    result = search(image, text, top_k, execution=execution, **options)
    assert_same(result, reference(image, text, top_k, **options))
    return result


FILTERS = {
    "none": {},
    "low duplicate threshold": {"duplicate_threshold": 0.4},
    "floor": {"similarity_floor": 0.35},
    "image limits": {"max_image_score": 0.5, "min_image_score": 0.2},
    "text limits": {"max_text_score": 0.45, "min_text_score": 0.25},
    "score limits": {"max_score": 0.25, "min_score": 0.1},
    "short lists": {"min_score": 0.3},
    "absolute margin": {"absolute_margin": 0.05},
    "both margins": {"absolute_margin": -0.2, "relative_margin": 0.3},
    "range": {"range_min": 3, "range_max": 9},
    "range inside the lists": {"range_min": 2, "range_max": 5},
    "image weight": {"image_weight": 0.7, "similarity_floor": 0.1},
    "image alone": {"image_weight": 1.0},
    "all": {
        "max_score": 0.3,
        "min_score": 0.02,
        "relative_margin": -0.5,
        "range_min": 1,
        "image_weight": 0.4,
        "max_text_score": 0.6,
    },
}


CROSS_MODAL = {
    "plain": {},
    "low duplicate threshold": {"duplicate_threshold": 0.4},
    "floor and score limits": {"similarity_floor": 0.1, "max_score": 0.6, "min_score": 0.2},
    "limits within modalities": {"max_image_score": 0.5, "min_text_score": 0.1, "max_score": 0.7},
    "margins and range": {"absolute_margin": -0.2, "relative_margin": 0.3, "range_max": 6},
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", CROSS_MODAL)
def test_nearest_captions_of_an_image_and_images_of_a_caption(name, precision):
    image, text = one_space(160)
    groups = np.random.default_rng(0).integers(0, 30, (160, 2))
    options = {"groups": groups, "exclude": np.array([4, 90]), **CROSS_MODAL[name]}
    result = checked(image, text, 8, precision, method="cross-modal", **options)
    assert result.kept > 100 and result.kept == (result.indices >= 0).sum()


def test_a_cross_modal_list_is_what_the_contrastive_loss_compares_with():
    image, text = themed(80, 24), themed(80, 24, 1)
    similarities = unit(image) @ unit(text).T
    nearest = np.argsort(-np.maximum(similarities, similarities.T), axis=1)
    indices, scores = hard_pairs(image, text, top_k=5, method="cross-modal", duplicate_threshold=2)
    for row in range(80):
        own = [j for j in nearest[row] if j != row][:5]
        assert indices[row].tolist() == own
        best = np.maximum(similarities[row, own], similarities[own, row])
        np.testing.assert_allclose(scores[row], best, rtol=1e-6)


def test_with_a_margin_a_cross_modal_list_starts_below_the_own_pair():
    """The ranks of a row that are too near to its own pair are skipped, all others stay."""
    image, text = one_space(80)
    plain, some = (
        search(image, text, 79, method="cross-modal", absolute_margin=margin)
        for margin in (None, 0.1)
    )
    own = (unit(image) * unit(text)).sum(axis=1)
    starts = ((plain.scores > (own - 0.1)[:, None]) & (plain.indices >= 0)).sum(axis=1)
    assert len(np.unique(starts)) > 5 and some.removed["margin"] == starts.sum()
    for row, start in enumerate(starts):
        kept = 79 - start
        assert some.indices[row, :kept].tolist() == plain.indices[row, start:].tolist()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", FILTERS)
def test_lists_and_counts(name, precision):
    image, text = themed(160, 24), themed(160, 24, 1)
    image[20:30] = image[10:20]
    groups = np.random.default_rng(0).integers(0, 30, (160, 2))
    exclude = np.array([4, 90])
    result = checked(image, text, 8, precision, groups=groups, exclude=exclude, **FILTERS[name])
    assert result.kept == (result.indices >= 0).sum()


@pytest.mark.parametrize("method", ["image", "text"])
def test_one_modality(method):
    limits = {f"max_{method}_score": 0.6, "min_score": 0.1, "range_min": 2}
    result = checked(themed(140, 24), themed(140, 16, 1), 6, method=method, **limits)
    assert result.removed[f"max_{method}_score"] > 0 and result.removed["range"] > 0


def test_rows_whose_removed_entries_do_not_fit_are_counted_again(monkeypatch):
    image, text = themed(700, 16, themes=2), themed(700, 16, 1, themes=2)
    image[:400] = image[0]
    text[:300] = text[0]
    groups = np.arange(700) % 2
    overflowed, count_removed = [], CpuEngine.count_removed

    def counted(self, rows, *arguments):
        overflowed.append(len(rows))
        count_removed(self, rows, *arguments)

    monkeypatch.setattr(CpuEngine, "count_removed", counted)
    result = checked(image, text, 3, groups=groups[:, None])
    assert overflowed and overflowed[0] >= 300 and result.removed["duplicate_threshold"] > 10_000


def test_a_pool_is_counted_as_a_pool():
    image, text = themed(150, 24), themed(150, 16, 1)
    pool = set(np.random.default_rng(5).choice(150, 60, replace=False).tolist())
    result = search(image, text, 70, min_score=0.05, approx=60, seed=5)
    assert_same(result, reference(image, text, 70, min_score=0.05, pool=pool))


@pytest.mark.parametrize(
    "options",
    [
        {"range_min": 5, "range_max": 5},
        {"image_weight": 1.5},
        {"image_weight": 0.3, "method": "text"},
        {"max_image_score": 0.5, "method": "text"},
        {"max_score": 3.0},
        {"absolute_margin": 0.1, "method": "image"},
        {"relative_margin": float("nan")},
    ],
)
def test_senseless_filters(options):
    with pytest.raises(ValueError):
        hard_pairs(themed(5, 4), themed(5, 4), top_k=2, **options)


def test_margins_need_one_space():
    with pytest.raises(ValueError, match="4 and 6 wide"):
        hard_pairs(themed(5, 4), themed(5, 6), top_k=2, absolute_margin=0.1)


def test_reasons_of_the_kernel_have_their_names():
    for name, number in (
        ("known_positive", kernel.GROUP),
        ("similarity_floor", kernel.FLOOR),
        ("max_image_score", kernel.MAX_IMAGE),
    ):
        assert REMOVED_BY[number - 1] == name
    assert REMOVED_BY[kernel.MARGIN - 1] == "margin" and len(REMOVED_BY) == kernel.REASONS + 1


def test_a_manifest_keeps_the_options():
    options = MiningOptions(top_k=7, method="image", approx=5, seed=3, max_image_score=0.9)
    stored = options.for_manifest()
    assert stored["topk"] == 7 and stored["mining_method"] == "image"
    assert list(stored)[-9:] == [
        "topk",
        "mining_method",
        "noise_rule",
        "approx",
        "approx_targets",
        "candidates",
        "target_recall",
        "seed",
        "drop_nonfinite",
    ]
    assert MiningOptions.from_manifest({**stored, "of a later version": 1}) == options
    assert MiningOptions.from_manifest({}) == MiningOptions()
