"""The run's loss: it stops all ranks when one of them is not finite, and names the rows."""

from dataclasses import replace

import pytest
import torch

from hardpairs import losses
from hardpairs.core.errors import UserError
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
