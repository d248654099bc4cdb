"""What identifies an encoder."""

import torch

from hardpairs.models.encoders.base import weights_hash


def test_the_hash_is_of_the_weights():
    torch.manual_seed(0)
    first = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    before = weights_hash(first)
    assert before == weights_hash(first) and before.startswith("sha256:")
    with torch.no_grad():
        first[0].weight[0, 0] += 1e-6
    assert weights_hash(first) != before
