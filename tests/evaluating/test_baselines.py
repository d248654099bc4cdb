"""Baselines and ceiling by hand."""

import numpy as np
import pytest

from hardpairs.data.opening import open_samples
from hardpairs.evaluating.baselines import baselines, ceiling, miniclip
from hardpairs.evaluating.retrieval import evaluate_retrieval
from tests.photos.runs import CAPTIONS, embedded, write_photos


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


def test_our_protocol_is_miniclips_where_nothing_ties_or_repeats(tmp_path):
    captions = [[*CAPTIONS[0]], *CAPTIONS[1:5], ["<b>hand</b>", "palm"]]
    samples = open_samples(write_photos(tmp_path, captions))
    rows = embedded(samples, noise=2.0)
    ours, theirs = evaluate_retrieval(samples, rows, None)[0], miniclip(samples, rows)
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
    # "cup" is right for images 0 and 5, "Cup" for 1; all other captions are right for one image.
    reachable = ceiling(samples, np.arange(12))
    assert reachable["text_to_image_R@1"] == pytest.approx((9 + 2 / 3 + 2 / 3 + 1 / 3) / 12)
    mrr = (9 + 2 * (2 / 3 + 1 / 3 / 2) + (1 + 1 / 2 + 1 / 3) / 3) / 12
    assert reachable["text_to_image_MRR"] == pytest.approx(mrr)
    assert reachable["image_to_text_R@1"] == 1  # each image has a caption of its own
    random = (10 * 1 / 6 + 2 * 2 / 6) / 12
    assert found["baselines"]["random"]["text_to_image_R@1"] == pytest.approx(random)
    of_two = 1 - (10 * 9 * 8 * 7 * 6) / (12 * 11 * 10 * 9 * 8)
    of_three = 1 - (9 * 8 * 7 * 6 * 5) / (12 * 11 * 10 * 9 * 8)  # images 0 and 5 have both "cup"
    assert found["baselines"]["random"]["image_to_text_R@5"] == pytest.approx(
        (4 * of_two + 2 * of_three) / 6
    )
    words = found["baselines"]["bag_of_words"]
    # "red cup" and "blue cup": their own "cup" ties with the two other images' cups. "cup" (of 0 and 5): the "Cup" of image 1 is better than
    # "red cup". "Cup": those of 0 and 5 are better than "blue cup". Trees find each other; "dog" is nearer to "dog $x^2$" than to "dog in snow",
    # which finds "snow" and "dog" alike. The hand has no word but its own, so that all six images tie.
    ranks = {
        "optimistic": [1, 2, 1, 3, 1, 1, 1, 1, 1, 1, 1, 2],
        "pessimistic": [3, 2, 3, 3, 1, 1, 1, 1, 2, 1, 6, 2],
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
        ties: ceiling(samples, np.arange(3), ties=ties) for ties in ("pessimistic", "expected")
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
    assert evaluate_retrieval(samples, rows, None)[0]["text_to_image_R@1"] == 1
    assert baselines(samples, rows.rows)["baselines"]["random"]["text_to_image_MRR"] == 1
    assert miniclip(samples, rows)["MedR"] == 1
