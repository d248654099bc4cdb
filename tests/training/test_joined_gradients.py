"""One evaluation of the loss for all micro-batches, and none less where features are drawn anew."""

import torch
from torch.nn.functional import normalize

from hardpairs.batches import RANDOM, BatchInfo
from hardpairs.losses import LOSSES, LossContext, build_loss
from hardpairs.training.dataset import Batch
from hardpairs.training.run_loss import RunLoss
from tests.helpers import torchrun


class Model(torch.nn.Module):
    """Linear towers with OpenCLIP's outputs, and dropout."""

    def __init__(self, dropout=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text = (torch.nn.Linear(8, 6, bias=False) for _ in range(2))
        self.dropout = torch.nn.Dropout(dropout)
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, image, text):
        return {
            "image_features": normalize(self.image(self.dropout(image)), dim=1),
            "text_features": normalize(self.text(text), dim=1),
            "logit_scale": self.logit_scale.exp(),
        }


def run_of(accumulate, rows, world_size=1):
    """Return the loss of a run that counts its evaluations."""
    loss = build_loss("clip_ce", LOSSES.load("clip_ce").Config(), LossContext())
    run, calls = RunLoss(loss, None, accumulate=accumulate, world_size=world_size), []
    loss.register_forward_pre_hook(lambda *_: calls.append(1))
    for part in torch.arange(rows).chunk(accumulate):
        roles = torch.full((len(part),), RANDOM, dtype=torch.uint8)
        run.take(Batch(None, None, BatchInfo(part, roles, part)))
    return run, calls


def step(model, run, parts, precision=None):
    """Take the gradients of a step as OpenCLIP's trainer does; return them and the values."""
    values = []
    with torch.autocast("cpu", precision, enabled=precision is not None):
        with torch.no_grad():
            known = [model(*part) for part in parts]
        for number, part in enumerate(parts):
            outputs = model(*part)
            joined = {
                key: torch.cat(
                    [*(one[key] for one in known[:number]), outputs[key]]
                    + [one[key] for one in known[number + 1 :]]
                )
                for key in ("image_features", "text_features")
            }
            losses = run(**joined, logit_scale=outputs["logit_scale"], output_dict=True)
            total = sum(losses.values())
            values.append(total.item())
            total.backward()
    return {name: weight.grad for name, weight in model.named_parameters()}, values


def halves(count=12):
    sides = torch.randn(2, count, 8, generator=torch.Generator().manual_seed(0))
    return list(zip(*(side.chunk(3) for side in sides), strict=True)), sides


def test_the_loss_is_evaluated_once_for_all_micro_batches():
    parts, sides = halves()
    run, calls = run_of(3, 12)
    gradients, values = step(Model(), run, parts)
    expected, (value,) = step(Model(), run_of(1, 12)[0], [tuple(sides)])
    assert len(calls) == 1 and values == [values[0]] * 3
    torch.testing.assert_close(values[0], value)
    torch.testing.assert_close(gradients, expected)


def test_in_bfloat16_too():
    parts, _ = halves()
    run, calls = run_of(3, 12)
    gradients, _ = step(Model(), run, parts, torch.bfloat16)
    expected, _ = step(Model(), run_of(3, 12)[0], parts)
    assert len(calls) == 1
    torch.testing.assert_close(gradients, expected, rtol=0.1, atol=0.02)


def test_features_that_are_drawn_anew_have_evaluations_of_their_own():
    """Each micro-batch then has the gradients at its own features, as without the short cut."""
    parts, _ = halves()
    found = []
    for short_cut in (True, False):
        run, calls = run_of(3, 12)
        if not short_cut:
            run._joined.fit = lambda inputs: False
        found.append(step(Model(dropout=0.5), run, parts)[0])
        assert len(calls) == 3
    torch.testing.assert_close(*found)


def test_ranks_evaluate_together(tmp_path):
    """Of two ranks one has dropout: the other one joins its evaluations, and none waits."""
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    done = torchrun(2, str(script), timeout=120)
    assert done.stdout.count("evaluated 3 times") == 2, done.stdout + done.stderr


RANK = """
import torch.distributed as dist

from tests.training.test_joined_gradients import Model, halves, run_of, step

dist.init_process_group("gloo")
run, calls = run_of(3, 12, world_size=2)
step(Model(dropout=0.5 * dist.get_rank()), run, halves()[0])
print(f"evaluated {len(calls)} times", flush=True)
dist.destroy_process_group()
"""
