"""Retrieval: one entry per image and per caption of a group."""

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.embedding.stream import Embedded
from hardpairs.evaluating.baselines import miniclip
from hardpairs.evaluating.retrieval import evaluate_retrieval
from hardpairs.metrics.base import MetricInputs, compute_all
from hardpairs.metrics.groups import first_of_each
from tests.photos.runs import embedded, write_photos


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


def test_an_image_with_two_captions_is_one_item_of_the_gallery(photos):
    """The model takes images 0 and 1 for each other: each caption of theirs has one wrong image before its own, not two rows of it."""
    samples = open_samples(photos)
    image = np.repeat(np.eye(6, dtype=np.float32), 2, axis=0)
    text = image[[2, 3, 0, 1, *range(4, 12)]]
    text[:4] += 0.5 * image[:4]
    metrics, arrays = evaluate_retrieval(
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


def test_nan_embeddings_end_with_their_own_code(photos):
    samples = open_samples(photos)
    rows = embedded(samples, noise=1.0)
    rows.text[3, 2] = np.nan
    for measure in (
        lambda: evaluate_retrieval(samples, rows, None),
        lambda: miniclip(samples, rows),
    ):
        with pytest.raises(UserError) as error:
            measure()
        assert error.value.code == 6


def test_a_caption_is_one_item_of_its_groups_gallery_however_many_images_have_it(tmp_path):
    """Two pictures of each of four things, one caption each thing: four texts, and a wrong one counts once."""
    lines = [f"{tmp_path}/{i}.jpg,thing {i // 2},{i // 2}" for i in range(8)]
    (tmp_path / "pairs.csv").write_text("\n".join(["filepath,title,group", *lines]) + "\n")
    samples = open_samples(tmp_path / "pairs.csv")
    assert samples.positives.shape == (8, 3)  # images are told apart from groups here
    text = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    image = text[[2, 3, 0, 1, 4, 5, 6, 7]]  # things 0 and 1 are taken for each other
    metrics, arrays = evaluate_retrieval(samples, Embedded(image, text, np.arange(8), {}), None)
    assert metrics["texts"] == 4 and len(arrays["text_rows"]) == 4
    assert sorted(arrays["image_to_text_ranks"].tolist()) == [
        1,
        1,
        1,
        1,
        4,
        4,
        4,
        4,
    ]  # among four texts: the wrong one, and ties against the model


def test_a_caption_is_right_for_each_image_that_has_it(tmp_path):
    """Eight images, two of each caption, no groups: a perfect model is always right, here and in validation."""
    lines = [f"{tmp_path}/{i}.jpg,thing {i // 2}" for i in range(8)]
    (tmp_path / "pairs.csv").write_text("\n".join(["filepath,title", *lines]) + "\n")
    samples = open_samples(tmp_path / "pairs.csv")
    rows = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    metrics, _ = evaluate_retrieval(samples, Embedded(rows, rows, np.arange(8), {}), None)
    assert metrics["image_to_text_R@1"] == metrics["text_to_image_R@1"] == 1
    assert (metrics["groups"], metrics["texts_in_several_groups"]) == (8, 8)
    validated = compute_all(MetricInputs.of_samples(samples, np.arange(8), rows, rows))
    assert validated["image_to_text_R@1"] == validated["mean_R@1"] == 1
    swapped = rows[[2, 3, 0, 1, 4, 5, 6, 7]]
    metrics, _ = evaluate_retrieval(samples, Embedded(swapped, rows, np.arange(8), {}), None)
    assert metrics["image_to_text_R@1"] == metrics["text_to_image_R@1"] == 0.5


def test_sharing_a_caption_does_not_merge_two_images(tmp_path):
    """The caption that only the other image has stays wrong."""
    samples = open_samples(write_photos(tmp_path, [["cup", "red"], ["cup", "blue"]]))
    image = np.repeat(np.eye(2, dtype=np.float32), 2, axis=0)
    text = np.array([[0.6, 0.6], [0, 1], [0.6, 0.6], [1, 0]], np.float32)  # red and blue: swapped
    metrics, arrays = evaluate_retrieval(
        samples, Embedded(image, text, np.arange(4), {}), None, ties="expected"
    )
    assert arrays["text_to_image_ranks"].tolist() == [1, 2, 1, 2]
    assert arrays["image_to_text_ranks"].tolist() == [2, 2]
    assert metrics["texts_in_several_groups"] == 2
