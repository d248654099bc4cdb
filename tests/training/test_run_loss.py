"""The run's loss: it stops all ranks when one of them is not finite, and names the rows."""

from dataclasses import replace

import pytest
import torch

from hardpairs import losses
from hardpairs.batches import HARD_PAIR, TARGET, BatchInfo
from hardpairs.core.errors import UserError
from hardpairs.models.head import EmbeddingHead, attach
from hardpairs.training.dataset import Batch
from hardpairs.training.run_loss import RunLoss
from tests.helpers import torchrun
from tests.training.test_similarities import batch, run_loss


def test_a_loss_that_is_not_finite_names_its_rows():
    run = RunLoss(losses.TrainingLoss(losses.ContrastiveLoss()), None)
    run.take(batch([5, 7, 0]))
    features = torch.nn.functional.normalize(torch.randn(3, 6), dim=1)
    broken = features.clone()
    broken[1] = torch.nan
    with pytest.raises(UserError, match=r"rows \[7\]") as caught:
        run(features, broken, torch.tensor(10.0), output_dict=True)
    assert caught.value.code == 6


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("clip_ce", ("--guided-mask", "EMB", "--guided-margin", ".2", "--multi-positive")),
        ("clip_ce", ("--blend-targets", "EMB", "--blend-scale", "5", "--hardness-weight", "9")),
        ("siglip", ("--guided-mask", "EMB", "--multi-positive")),
    ],
)
def test_micro_batches_are_one_batch(table, embeddings, name, flags):
    """Stored features are joined like rows; each call has the gradients of one micro-batch's rows."""
    flags = ("--loss-fn", name, *(str(embeddings) if flag == "EMB" else flag for flag in flags))
    inputs = torch.nn.functional.normalize(torch.randn(2, 8, 6), dim=2)
    whole, losses, gradients = batch([5, 7, 0, 9, 6, 3, 4, 8]), [], []
    info = replace(whole.info, group_ids=torch.tensor([0, 1, 2, 3, 0, 4, 5, 3])[:, None])
    for sizes, options in (((8,), flags), ((4, 4), flags), ((8,), ("--loss-fn", name))):
        values = {"accum_freq": len(sizes), "siglip": name == "siglip"}
        run = run_loss(table, *options, false_negative_mask=True, **values)
        for part in torch.arange(8).split(sizes):
            run.take(Batch(whole.images[part], whole.texts[part], info[part]))
        gradients.append(torch.zeros_like(inputs))
        for rows in torch.arange(8).split(sizes):
            sides = inputs.clone().requires_grad_()
            features = inputs.index_copy(1, rows, sides[:, rows])
            parts = run(*features, torch.tensor(10.0), torch.tensor(-3.0), output_dict=True)
            parts["contrastive_loss"].backward()
            gradients[-1] += sides.grad
        losses.append(parts["contrastive_loss"].item())
    assert losses[0] == losses[1]
    torch.testing.assert_close(gradients[0], gradients[1])
    assert losses[0] != pytest.approx(losses[2], rel=0.01)


GROUPS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])


class Model(torch.nn.Module):
    """Linear towers with OpenCLIP's outputs."""

    def __init__(self):
        super().__init__()
        self.image, self.text = (torch.nn.Linear(8, 6, bias=False) for _ in range(2))
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.0))
        self.logit_bias = torch.nn.Parameter(torch.tensor(-3.0))

    def forward(self, image, text):
        normalize = torch.nn.functional.normalize
        return {
            "image_features": normalize(self.image(image), dim=1),
            "text_features": normalize(self.text(text), dim=1),
            "logit_scale": self.logit_scale.exp(),
            "logit_bias": self.logit_bias,
        }


def model_of(component):
    """The model, with the head that the loss needs."""
    torch.manual_seed(0)
    model = Model()
    if component.needs_labels:
        attach(model, EmbeddingHead("pooled", 6, classes=6 * component.needs_class_weights))
    return model.double()


def run_of(name, accumulate, **options):
    context = losses.LossContext(
        hard_per_target=1, group_ids=GROUPS.unique(), width=6, num_rows=12, epochs=2
    )
    config = losses.LOSSES.load(name).Config(**options)
    return RunLoss(losses.build_loss(name, config, context), None, accumulate=accumulate)


def gradients(name, accumulate, **options):
    """Gradients of two steps of 12 rows, with the rows in so many micro-batches, as OpenCLIP's trainer joins them."""
    component, run = losses.LOSSES.load(name), run_of(name, accumulate, **options)
    model = model_of(component)
    generator, found = torch.Generator().manual_seed(0), []
    for step in range(2):
        sides = torch.randn(2, 12, 8, generator=generator, dtype=torch.float64)
        order = torch.arange(12).roll(2 * step)
        roles = torch.tensor([TARGET, HARD_PAIR] * 6, dtype=torch.uint8)
        targets = torch.stack([order[::2], order[::2]], 1).flatten()
        info = BatchInfo(order, roles, targets, GROUPS[order, None], epochs_done=step / 2)
        parts = torch.arange(12).chunk(accumulate)
        for part in parts:
            run.take(Batch(None, None, info[part]))
        with torch.no_grad():
            known = [model(*sides[:, part]) for part in parts]
        model.zero_grad()
        for number, part in enumerate(parts):
            outputs = model(*sides[:, part])
            whole = {key: outputs.pop(key) for key in ("logit_scale", "logit_bias")}
            joined = {
                key: torch.cat(
                    [*(one[key] for one in known[:number]), value]
                    + [one[key] for one in known[number + 1 :]]
                )
                for key, value in outputs.items()
            }
            sum(run(**joined, **whole, output_dict=True).values()).backward()
        found.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    return found


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in losses.LOSSES),
        ("clip_ce", {"memory_batches": 2, "margin_weight": 0.3, "geometry_weight": 0.1}),
        ("sanw_bandpass", {"memory_batches": 2, "loss_block_rows": 5}),
        ("siglip", {"memory_batches": 2}),
        ("clip_ce", {"memory_batches": 2, "memory_match": True}),
        ("global", {"global_rho": 2.0}),
        ("clip_ce", {"multi_positive": True, "hardness_weight": 3.0, "memory_batches": 1}),
    ],
)
def test_accumulated_gradients_are_those_of_the_joined_batch(name, options):
    """Also of the second step, whose memory or normalizers the first has changed once."""
    joined, accumulated = (gradients(name, number, **options) for number in (1, 3))
    for one, other in zip(joined, accumulated, strict=True):
        assert one.keys() == other.keys()
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-9)


def test_ranks_stop_together(tmp_path):
    """Of two ranks one has a loss that is not finite (the sigmoid form looks at its own rows first): both stop with exit 6, none waits."""
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    done = torchrun(2, str(script), timeout=120)
    assert done.stdout.count("stopped with 6") == 2, done.stdout + done.stderr


RANK = """
import datetime
import torch, torch.distributed as dist
from hardpairs.core.errors import UserError
from hardpairs import losses
from hardpairs.batches import BatchInfo
from hardpairs.models.head import EmbeddingHead, attach
from hardpairs.training.dataset import Batch
from hardpairs.training.run_loss import RunLoss

dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
rank = dist.get_rank()
class Local(torch.nn.Module):
    def forward(self, image, text, *_, **__):
        return {"contrastive_loss": (image * text).sum()}

run = RunLoss(Local(), None, world_size=2)
run.take(Batch(None, None, BatchInfo(rows=torch.arange(4), roles=torch.zeros(4))))
features = torch.ones(4, 3)
if rank == 1:
    features[2] = torch.nan
try:
    run(features, features, torch.tensor(1.0))
except UserError as error:
    print(f"rank {rank} stopped with {int(error.code)}", flush=True)
dist.barrier()
"""
