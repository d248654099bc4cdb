"""Run by torchrun: losses through the Triton kernels; each rank writes its values and gradients.

The kernels are asked for where ``use_kernels`` would refuse the interpreter's CPU.
"""

import sys

import torch
import torch.distributed as dist

from hardpairs.batches import BatchInfo
from hardpairs.losses import ContrastiveLoss, SigmoidLoss, World, block_sums, siglip
from tests.losses.helpers import features

PAIRS = 280
FORMS = {"softmax": ContrastiveLoss, "sigmoid": SigmoidLoss}


def compute(form, rows, device="cpu", block_rows=100, **world):
    """Return a loss of some of the pairs and its gradients, which are those of the ranks' mean."""
    sides = [side[rows].to(device) for side in features(PAIRS, 70, dtype=torch.float32)]
    scale, bias = (torch.tensor(value, device=device) for value in (20.0, -5.0))
    leaves = [leaf.requires_grad_() for leaf in (*sides, scale, bias)]
    info = BatchInfo(group_ids=(torch.arange(PAIRS)[rows, None] // 3).to(device))
    value = FORMS[form](block_rows=block_rows, world=World(**world))(*leaves, info=info)
    return [value.detach(), *torch.autograd.grad(value, leaves)]


if __name__ == "__main__":
    block_sums.use_kernels = siglip.use_kernels = lambda *_: True
    dist.init_process_group("gloo")
    rank, half = dist.get_rank(), PAIRS // 2
    results = {
        (form, ring): compute(
            form, slice(rank * half, (rank + 1) * half), rank=rank, world_size=2, ring=ring
        )
        for form in FORMS
        for ring in (False, True)
    }
    torch.save(results, f"{sys.argv[1]}{rank}")
    dist.destroy_process_group()
