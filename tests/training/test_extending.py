"""A new loss is one file: in ``hardpairs/losses``, or in a package of the user's own."""

import argparse
import os

import pytest
import torch

import hardpairs.losses
from hardpairs.batches import BatchInfo
from hardpairs.losses import LOSSES, LossContext, build_loss
from hardpairs.training.config import TrainingConfig, option_groups
from hardpairs.training.hooks.flags import add_arguments
from tests.processes import FORGETS
from tests.training.test_trainer import COMMA, steps, train

SOURCE = '''
from dataclasses import dataclass

from hardpairs.core.components import Options, option, register
from hardpairs.losses.base import Loss


@register("distance")
class DistanceLoss(Loss):
    """Mean distance of an image and its text, to a power."""

    @dataclass(frozen=True)
    class Config(Options):
        """The options."""

        power: float = option(2.0, "power of the distance", flag="--distance-power", above=0)

    def __init__(self, power):
        super().__init__()
        self.power = power

    def forward(self, image_features, text_features, logit_scale, logit_bias=None, *, info=None):
        assert len(info) == len(image_features)
        return (image_features - text_features).norm(dim=1).pow(self.power).mean()
'''


@pytest.fixture
def forget():
    """Forget the known losses, before and after."""

    def clear():
        LOSSES.__dict__.pop("declarations", None)
        option_groups.cache_clear()

    clear()
    yield
    clear()


def test_a_file_beside_the_losses_is_enough(tmp_path, monkeypatch, forget):
    (tmp_path / "distance.py").write_text(SOURCE)
    paths = [*hardpairs.losses.__path__, str(tmp_path)]
    monkeypatch.setattr(hardpairs.losses.__spec__, "submodule_search_locations", paths)
    monkeypatch.setattr(hardpairs.losses, "__path__", paths)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert "--distance-power X" in parser.format_help()
    args = parser.parse_args(["--loss-fn", "distance", "--distance-power", "1"])
    config = TrainingConfig.from_values(vars(args))
    loss = build_loss(config.loss_fn, config.loss, LossContext()).loss
    side = torch.eye(3)
    info = BatchInfo(rows=torch.arange(3))
    assert loss(side, side.flip(0), torch.tensor(1.0), info=info).item() == pytest.approx(
        2 * 2**0.5 / 3
    )


def test_a_package_of_ones_own_trains(tmp_path, table):
    (tmp_path / "my_losses.py").write_text(SOURCE)
    (tmp_path / "my_losses-1.0.dist-info").mkdir()
    about = tmp_path / "my_losses-1.0.dist-info"
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-losses\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[hardpairs.losses]\ndistance = my_losses:DistanceLoss\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    data = ("--train-data", str(table), *COMMA, "--batch-size", "8", "--max-steps", "2")
    more = ("--loss-fn", "distance", "--distance-power", "1.5")
    process = {"env": {"PYTHONPATH": path, FORGETS: "1"}}
    done = train(tmp_path, "run", *data, *more, **process)
    assert done.returncode == 0, done.stderr
    assert [float(step["contrastive_loss"]) > 0 for step in steps(tmp_path, "run")] == [True, True]
    assert '"power": 1.5' in (tmp_path / "run/config.json").read_text()
    done = train(tmp_path, "other", *data, *more, "--sanw-alpha", "0", **process)
    assert done.returncode == 2 and "--sanw-alpha is given, but nothing uses it" in done.stderr
    done = train(tmp_path, "other", *data, *more[:-1], "0", **process)
    assert done.returncode == 2 and "--distance-power must be above 0" in done.stderr
