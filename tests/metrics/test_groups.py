"""Groups of images and captions."""

import numpy as np

from hardpairs.metrics.groups import belong, groups_of_rows, groups_text, shared_items


def test_without_repeated_captions_each_side_has_plain_ids():
    images, texts = groups_of_rows(np.array([9, 4, 4]), np.array([1, 2, 3]))
    assert images.tolist() == texts.tolist() == [1, 0, 0]
    assert belong(texts, np.array([0, 1])).tolist() == [[False, True], [True, False], [True, False]]
    assert not shared_items(texts).any()


def test_a_caption_is_in_the_group_of_each_of_its_rows():
    images, texts = groups_of_rows(np.array([9, 4, 4, 5]), np.array([1, 1, 2, 1]))
    assert images.tolist() == [2, 0, 0, 1]
    everywhere, first = [True, True, True], [True, False, False]
    assert belong(texts, np.arange(3)).tolist() == [everywhere, everywhere, first, everywhere]
    assert shared_items(texts).tolist() == [True, True, False, True]


def test_what_counts_as_right_is_told():
    assert groups_text(1200, 6, 3, 0) == "1,200 images and 6 captions in 3 groups"
    assert groups_text(2, 6, 3, 4).endswith("; 4 captions are in several groups and right for each")


def test_no_rows():
    images, texts = groups_of_rows(np.array([], np.int64), np.array([], np.int64))
    assert len(images) == len(texts) == 0
