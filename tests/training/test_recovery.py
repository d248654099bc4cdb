"""Steps that move an optimizer's statistics alone: against Adam written out, and in real runs."""

import pytest
import torch

from hardpairs.training.freezing import head_groups
from hardpairs.training.recovery import add_recovery
from tests.training.test_trainer import COMMA, SAME_PIXELS, checkpoint, train

BETAS, EPS, RATE, DECAY = (0.9, 0.98), 1e-6, 0.05, 0.2


def small_model() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 6, bias=False), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 2)
    )


def adamw(model, rate=RATE):
    return torch.optim.AdamW(model.parameters(), rate, BETAS, EPS, DECAY)


def gradients(model, step: int) -> list[torch.Tensor]:
    """Fill in the gradients of a batch, which depend on the weights."""
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(8, 4, generator=generator)
    model.zero_grad()
    model(inputs).pow(2).mean().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def by_definition(recover: int, total: int) -> list[torch.Tensor]:
    """AdamW by its formulas in float64; the first steps leave the weights as they are."""
    model = small_model()
    parameters = list(model.parameters())
    moments = [(torch.zeros_like(p).double(), torch.zeros_like(p).double()) for p in parameters]
    for step in range(1, total + 1):
        given = gradients(model, step)
        for number, (parameter, gradient) in enumerate(zip(parameters, given, strict=True)):
            m, v = moments[number]
            m = BETAS[0] * m + (1 - BETAS[0]) * gradient.double()
            v = BETAS[1] * v + (1 - BETAS[1]) * gradient.double() ** 2
            moments[number] = m, v
            if step <= recover:
                continue
            m_hat, v_hat = m / (1 - BETAS[0] ** step), v / (1 - BETAS[1] ** step)
            value = parameter.detach().double() * (1 - RATE * DECAY)
            parameter.data.copy_(value - RATE * m_hat / (v_hat.sqrt() + EPS))
    return [parameter.detach() for parameter in parameters]


def test_the_weights_follow_from_all_moments_and_later_updates():
    model = small_model()
    optimizer = adamw(model)
    recovery = add_recovery(optimizer, model, 3)
    optimizer.register_step_post_hook(recovery.after)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    for step in range(1, 7):
        gradients(model, step)
        optimizer.step()
        still = [torch.equal(value, start[name]) for name, value in model.state_dict().items()]
        assert all(still) if step <= 3 else not any(still), "batch norm's buffers, too"
        assert optimizer.param_groups[0]["lr"] == RATE
        assert optimizer.param_groups[0]["weight_decay"] == DECAY
    for found, expected in zip(model.parameters(), by_definition(3, 6), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_the_heads_rate_comes_back_too():
    model = torch.nn.ModuleDict(
        {"logit_scale": torch.nn.Linear(2, 2), "rest": torch.nn.Linear(2, 2)}
    )
    optimizer = adamw(model)
    recovery = add_recovery(optimizer, model, 1)
    head_groups(optimizer, model, rate=RATE, head_rate=3 * RATE)
    optimizer.register_step_post_hook(recovery.after)
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        assert [group["lr"] for group in optimizer.param_groups] == [RATE, RATE]


FLAGS = (
    *COMMA,
    "--batching",
    "random",
    "--lr",
    "0.01",
    "--wd",
    "0.1",
    "--epochs",
    "2",
    *SAME_PIXELS,
)


def weights(logs, name, epoch):
    stored = checkpoint(logs, name, epoch)["state_dict"]
    return {key.removeprefix("module."): value for key, value in stored.items()}


def same(first, second) -> set[bool]:
    return {torch.equal(value, second[name]) for name, value in first.items()}


@pytest.fixture(name="start")
def start_checkpoint(request):
    return request.getfixturevalue("checkpoint")


def test_a_run_that_is_resumed_amid_them_ends_the_same(table, tmp_path, start):
    """Two epochs of two steps each, of which the first three only move statistics."""
    flags = ("--train-data", str(table), *FLAGS, "--pretrained", str(start))
    flags += ("--recover-steps", "3", "--batch-size", "20")
    done = train(tmp_path, "run", *flags)
    assert done.returncode == 0 and "3 steps moved the optimizer's statistics" in done.stderr
    before, after = torch.load(start, weights_only=True)["state_dict"], weights(tmp_path, "run", 2)
    assert same(weights(tmp_path, "run", 1), before) == {True} and False in same(after, before)
    (tmp_path / "run/checkpoints/epoch_2.pt").unlink()
    again = train(tmp_path, "run", *flags, "--resume", "latest")
    assert again.returncode == 0, again.stderr
    assert same(weights(tmp_path, "run", 2), after) == {True}


def test_two_processes_end_as_one_does(table, tmp_path, start):
    flags = ("--train-data", str(table), *FLAGS, "--pretrained", str(start), "--freeze-bn-stats")
    flags += ("--eps", "1e-3")  # a gradient of nothing but rounding must not count
    for name, processes in (("one", 0), ("two", 2)):
        size = ("--batch-size", str(20 // max(1, processes)), "--recover-steps", "3")
        done = train(tmp_path, name, *flags, *size, processes=processes)
        assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path, "one", 2), weights(tmp_path, "two", 2)
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-3, atol=1e-4)


def test_what_cannot_work_is_refused(table, tmp_path, start):
    flags = ("--train-data", str(table), *FLAGS, "--pretrained", str(start))
    flags += ("--batch-size", "20")
    done = train(tmp_path, "none", *flags, "--recover-steps", "4")
    assert done.returncode == 2 and "leaves no step of the run's 4" in done.stderr
    assert train(tmp_path, "plain", *flags, "--epochs", "1").returncode == 0
    done = train(tmp_path, "plain", *flags, "--recover-steps", "2", "--resume", "latest")
    assert done.returncode == 4 and "had no --recover-steps" in done.stderr, done.stderr
