"""Means of gradients over the processes of a run, whose bits do not depend on the buckets.

DistributedDataParallel joins gradients to buckets and reduces one bucket at a time. After the first
step it puts them into other buckets, in the order in which they come. So the first step of a
resumed run has other buckets than the same step of a run that was not stopped. gloo adds the
numbers of three and more processes in an order that depends on their place in the bucket, and
another order gives other bits.
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def reduce_one_by_one(trained: nn.Module) -> None:
    """Have each gradient reduced by itself, where its bits depend on the buckets: on a CPU.

    Two processes need it not: a sum of two numbers has one order.

    Args:
        trained: What the trainer trains; nothing happens to what is not distributed.
    """
    if not dist.is_initialized() or dist.get_world_size() < 3:
        return
    for module in trained.modules():
        if isinstance(module, DistributedDataParallel) and module.device_type == "cpu":
            module.register_comm_hook(None, mean_of_each)


def mean_of_each(
    group: dist.ProcessGroup | None,
    bucket: dist.GradBucket,  # type: ignore[name-defined]
) -> torch.futures.Future[torch.Tensor]:
    """Return the mean of each gradient of a bucket over the processes, by an all-reduce of its own.

    Args:
        group: The processes; ``None``: all.
        bucket: Gradients in one buffer, which is changed in place.
    """
    count = dist.get_world_size(group)
    sums = [
        dist.all_reduce(gradient.div_(count), group=group, async_op=True).get_future()
        for gradient in bucket.gradients()
    ]
    return torch.futures.collect_all(sums).then(lambda _: bucket.buffer())
