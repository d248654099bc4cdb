"""Run by torchrun: every metric loss on two ranks, through DDP; rank 0 writes losses and parameter gradients for the test to compare."""

import sys

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from hardpairs.batches import BatchInfo
from hardpairs.losses import LOSSES, LossContext, TrainingLoss, World
from hardpairs.models.head import KINDS, EmbeddingHead, attach

WIDTH, ROWS = 6, 12
LABELS = torch.tensor([5, 5, 5, 9, 9, 2, 2, 2, 7, 7, 30, 31])  # the last two are of no class
CLASSES = torch.tensor([2, 5, 7, 9])
LABEL_LOSSES = ("supcon", "contrastive", "contrastive_squared", "triplet", "arcface")
CASES = {
    **{name: (name, "none", "pooled", 1) for name in LABEL_LOSSES},
    **{
        f"triplet, {miner}": ("triplet", miner, "image", 1)
        for miner in ("batch-hard", "semi-hard", "multi-similarity")
    },
    **{f"supcon, {kind}": ("supcon", "none", kind, 1) for kind in KINDS},
    "arcface, mlp": ("arcface", "none", "mlp", 1),
    "arcface, accumulated": ("arcface", "none", "pooled", 2),
}


class Towers(nn.Module):
    """Stands for a CLIP model: two linear towers and a temperature."""

    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Linear(4, WIDTH), nn.Linear(4, WIDTH)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, image, text):
        features = (F.normalize(self.image(image), dim=-1), F.normalize(self.text(text), dim=-1))
        return {
            "image_features": features[0],
            "text_features": features[1],
            "logit_scale": self.logit_scale.exp(),
        }


def make(case):
    name, miner, kind, accumulate = CASES[case]
    torch.manual_seed(0)
    head = EmbeddingHead(
        kind,
        WIDTH,
        learned=True,
        layers=2,
        dropout=0.0,
        classes=len(CLASSES) if name == "arcface" else 0,
    )
    model = attach(Towers(), head).double()
    options = {"metric_margin": 0.3} if name == "triplet" else {}
    options |= {"miner": miner} if miner != "none" else {}
    return model, head, name, options, accumulate


def loss_of(name, width, options, world):
    """Return the training loss of a name with some options."""
    component = LOSSES.load(name)
    context = LossContext(world, group_ids=CLASSES, width=width)
    return TrainingLoss(component.from_config(component.Config(**options), context))


def compute(case, rows, rank=0, world_size=1):
    """(loss, gradients by name) of some rows of the batch, as the trainer gets them."""
    model, head, name, options, accumulate = make(case)
    loss = loss_of(name, head.width, options, World(rank, world_size))
    generator = torch.Generator().manual_seed(1)
    image, text = torch.randn(2, ROWS, 4, generator=generator, dtype=torch.float64)
    wrapped = nn.parallel.DistributedDataParallel(model) if world_size > 1 else model
    parts = list(
        zip(
            image[rows].chunk(accumulate),
            text[rows].chunk(accumulate),
            LABELS[rows].chunk(accumulate),
            strict=True,
        )
    )
    info = BatchInfo.joined([BatchInfo(group_ids=labels[:, None]) for *_, labels in parts])
    total = 0.0
    for number, (images, texts, _) in enumerate(
        parts
    ):  # --accum-freq: one part at a time has gradients, among the features of all
        outputs = [
            wrapped(images, texts)
            if n == number
            else {k: v.detach() for k, v in model(*other[:2]).items()}
            for n, other in enumerate(parts)
        ]
        joined = {
            key: torch.cat([output[key] for output in outputs])
            for key in outputs[0]
            if key != "logit_scale"
        }
        scale = outputs[number]["logit_scale"]
        value = loss(**joined, logit_scale=scale, info=info, output_dict=True)["metric_loss"]
        value.backward()
        total = value.detach()
    return total, {name: parameter.grad for name, parameter in model.named_parameters()}


def main(path):
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    results = {case: compute(case, slice(rank * 6, rank * 6 + 6), rank, 2) for case in CASES}
    if rank == 0:
        torch.save(results, path)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
