"""The moving average of the weights: against its formula, in the checkpoint, measured, resumed."""

import json

import pytest
import torch

from hardpairs.models.load import load_encoder
from hardpairs.training.average import Average, add_average
from tests.training.test_recovery import COMMA, SAME_PIXELS, same, small_model, start_checkpoint  # noqa: F401
from tests.training.test_trainer import train


def test_it_follows_the_formula():
    model = small_model()
    model.logit_scale = torch.nn.Parameter(torch.tensor(4.5))
    model[2].weight.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    add_average(optimizer, model, 0.75)
    average: Average = model.ema
    expected = {n: p.detach().double() for n, p in model.named_parameters() if p.requires_grad}
    for step in range(5):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, -3.0 + step)
        optimizer.step()
        for name, parameter in model.named_parameters():
            if name in expected:
                value = parameter.detach().double()
                value = (
                    value.clamp(0, torch.log(torch.tensor(100.0)))
                    if name == "logit_scale"
                    else value
                )
                expected[name] = 0.75 * expected[name] + 0.25 * value
    assert model.logit_scale > 4.6052, "OpenCLIP cuts it after the step"
    assert set(average.weights) == set(expected) and "2.weight" not in expected
    for name, value in expected.items():
        torch.testing.assert_close(average.weights[name].double(), value, rtol=1e-6, atol=1e-7)


def test_the_model_has_it_for_a_while():
    model = small_model()
    average = Average(model, 0.5)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    average.weights["2.bias"].fill_(7)
    with pytest.raises(RuntimeError), average.in_place():
        assert (model[2].bias == 7).all()
        raise RuntimeError
    assert same(model.state_dict(), own) == {True}
    live = {f"module.{name}": value for name, value in own.items()}
    averaged = average.state_dict(live)
    assert averaged.keys() == live.keys() and (averaged["module.2.bias"] == 7).all()
    assert torch.equal(averaged["module.1.running_var"], own["1.running_var"])


@pytest.mark.parametrize("processes", [0, 2])
def test_a_run_writes_and_measures_it(table, tmp_path, start, processes):
    flags = ("--train-data", str(table), "--val-data", str(table), *COMMA, *SAME_PIXELS)
    flags += ("--pretrained", str(start), "--lr", "0.01", "--epochs", "2", "--ema", "0.5")
    flags += ("--batch-size", str(20 // max(1, processes)))
    done = train(tmp_path, "run", *flags, processes=processes)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run/checkpoints"
    last, averaged = (torch.load(folder / f"{name}.pt") for name in ("epoch_2", "ema"))
    live = last["state_dict"]
    for name, value in averaged["state_dict"].items():
        stored = last["ema"]["weights"].get(name.removeprefix("module."), live[name])
        assert torch.equal(value, stored.to(value.dtype))
    assert False in same(averaged["state_dict"], live)
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert lines[-1]["ema_image_to_text_R@1"] >= 0
    assert measured(folder / "ema.pt", table) == pytest.approx(
        lines[-1]["ema_image_to_text_mean_rank"], abs=0.1
    )
    assert measured(folder / "epoch_2.pt", table) == pytest.approx(
        lines[-1]["image_to_text_mean_rank"], abs=0.1
    )
    if not processes:
        (folder / "epoch_2.pt").unlink()
        again = train(tmp_path, "run", *flags, "--resume", "latest")
        assert again.returncode == 0, again.stderr
        resumed = torch.load(folder / "ema.pt")
        assert same(resumed["state_dict"], averaged["state_dict"]) == {True}


def measured(path, table) -> float:
    """The mean rank of an image's caption, by plain products."""
    from hardpairs.data.opening import open_samples
    from hardpairs.training.measuring import Inference, pair_features
    from hardpairs.training.validation_data import PairDataset, ValidationBatches

    encoder = load_encoder("hardpairs-test", str(path))
    pairs = PairDataset(open_samples(str(table)), encoder.transform, encoder.tokenizer)
    how = Inference("cpu", None, torch.no_grad)
    image, text = pair_features(encoder.model, ValidationBatches(pairs, 20, 0), how)
    scores = image @ text.T
    return float((scores >= scores.diagonal()[:, None]).sum(dim=1).float().mean())
