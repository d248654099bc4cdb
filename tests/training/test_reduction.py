"""Gradients of three real processes: their mean, whose bits do not depend on the buckets."""

from __future__ import annotations

import json

import torch
from torch import nn

from hardpairs.training.reduction import reduce_one_by_one
from tests.helpers import torchrun

PROGRAM = """
import json, sys, torch
import torch.distributed as dist
from torch import nn
from hardpairs.training.reduction import reduce_one_by_one
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
# First the gradients lie in this order; then in that of the backward pass, from c to a.
layers = nn.ModuleDict({name: nn.Linear(31, 31) for name in "abc"})
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = layers
    def forward(self, x):
        return self.layers["c"](self.layers["b"](self.layers["a"](x))).square().mean()
model = nn.parallel.DistributedDataParallel(Model())
reduce_one_by_one(model)
x = torch.randn(5, 31, generator=torch.Generator().manual_seed(rank))
layers.zero_grad()
model.module(x).backward()
own = torch.cat([p.grad.flatten() for p in layers.parameters()])
every = [torch.empty_like(own) for _ in range(3)]
dist.all_gather(every, own)
mean = torch.stack(every).double().mean(0)
steps = []
for _ in range(3):
    layers.zero_grad()
    model(x).backward()
    steps.append(torch.cat([p.grad.flatten() for p in layers.parameters()]))
near = max(float((step - mean).abs().max() / mean.abs().max()) for step in steps)
if rank == 0:
    told = {"error": near, "same": all(torch.equal(steps[0], step) for step in steps)}
    open(sys.argv[1], "w").write(json.dumps(told))
dist.destroy_process_group()
"""


def test_equal_steps_have_equal_bits_before_and_after_the_buckets_change(tmp_path):
    """Three steps on one batch; the buckets change after the first."""
    (tmp_path / "program.py").write_text(PROGRAM)
    done = torchrun(3, "--", str(tmp_path / "program.py"), str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["error"] < 1e-5 and found["same"]


def test_a_model_of_one_process_stays_as_it_is():
    model = nn.Linear(2, 2)
    reduce_one_by_one(model)
    model(torch.ones(1, 2)).sum().backward()
    assert model.weight.grad is not None
