"""Averages of two models' weights."""

import pytest
import torch

from hardpairs.core.errors import UserError
from hardpairs.models.merge import merge


def weights(seed: int, kind: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {"weight": torch.randn(5, 3).to(kind), "bn.num_batches_tracked": torch.tensor(seed)}


def test_the_average_by_its_formula():
    start, end = weights(1), weights(2)
    for alpha in (0.0, 0.2, 0.5, 0.9, 1.0):
        made = merge(start, end, alpha)
        expected = (1 - alpha) * start["weight"].double() + alpha * end["weight"].double()
        torch.testing.assert_close(made["weight"].double(), expected, rtol=1e-6, atol=1e-6)
        assert made["bn.num_batches_tracked"] == 2
    assert torch.equal(merge(start, end, 0.0)["weight"], start["weight"])
    assert torch.equal(merge(start, end, 1.0)["weight"], end["weight"])


def test_a_head_is_taken_over_and_half_precision_kept():
    start, end = weights(1, torch.bfloat16), weights(2, torch.bfloat16)
    end["embedding_head.weight"] = torch.ones(2)
    made = merge(start, end, 0.5)
    assert made["weight"].dtype == torch.bfloat16 and (made["embedding_head.weight"] == 1).all()


@pytest.mark.parametrize("change", ["shape", "name"])
def test_another_architecture_is_refused(change):
    start, end = weights(1), weights(2)
    if change == "shape":
        end["weight"] = end["weight"][:4]
    else:
        end["other"] = end.pop("weight")
    with pytest.raises(UserError, match="1 of 2 weights are missing") as error:
        merge(start, end, 0.5)
    assert error.value.code == 4 and error.value.where == "weight"
