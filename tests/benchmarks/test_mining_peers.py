"""Brute-force peers of the search."""

import torch

from benchmarks.mining_gpu import TOP_K
from benchmarks.mining_peers import dense_lists


def test_dense_lists_are_those_of_all_scores():
    image, text = (torch.nn.functional.normalize(torch.randn(90, width)) for width in (6, 4))
    targets = torch.tensor([3, 88, 41])
    scores = (image @ image.T).relu() * (text @ text.T).relu()
    scores.fill_diagonal_(0)
    expected = scores.sort(descending=True, stable=True).values[targets, :TOP_K]
    lists = dense_lists(image, text, targets, block=2)
    torch.testing.assert_close(scores[targets[:, None], lists], expected)
