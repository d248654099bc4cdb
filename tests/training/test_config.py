"""The configuration of a run: built from flags, with each component's own defaults, and saved."""

import json

import pytest

from hardpairs.batches import BATCHES
from hardpairs.core.components import Options
from hardpairs.core.errors import UserError
from hardpairs.losses import LOSSES
from hardpairs.training.config import TrainingConfig, defaults, label_losses


def config(**values):
    return TrainingConfig.from_values(values)


def test_components_have_their_own_defaults():
    assert config().loss.margin_weight == 0 and config(loss_fn="helip").loss.margin_weight == 0.3
    assert [config(loss_fn=name).loss.metric_margin for name in ("triplet", "arcface")] == [
        0.2,
        0.5,
    ]
    assert config(loss_fn="triplet", metric_margin=0.1).loss.metric_margin == 0.1
    assert config().batches is None
    assert config(batching="hard-pairs", hard_topk=7).batches.hard_topk == 7


@pytest.mark.parametrize("registry", [LOSSES, BATCHES], ids=["losses", "batch makers"])
def test_declarations_are_those_of_the_classes(registry):
    for name, declaration in registry.items():
        component = registry.load(name)
        assert component.name == name and issubclass(component.Config, Options)
        ours = {option.field: option.default for option in declaration.options}
        assert {name: field.default for name, field in fields(component)} == ours, name
        assert declaration.summary.endswith(".")


def fields(component):
    return component.Config.__dataclass_fields__.items()


def test_losses_for_labels_are_known_without_an_import():
    assert label_losses() == tuple(name for name in LOSSES if LOSSES.load(name).needs_labels)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"patience": 2}, "--patience needs --save-best"),
        ({"loss_fn": "sanw_bandpass", "sanw_m1": 0.9}, "--sanw-m1 must be below --sanw-m2"),
        ({"max_bad_fraction": 2.0}, "--max-bad-fraction must be at least 0 and at most 1"),
        ({"loss_fn": "nothing"}, "no loss 'nothing'"),
    ],
)
def test_messages_name_flags(values, says):
    with pytest.raises(UserError, match=says) as caught:
        config(**values)
    assert caught.value.code == 2


def test_the_parameters_of_a_run_build_its_configuration(tmp_path):
    """A namespace with every value filled in, as params.txt has it, is the same configuration."""
    given = {"loss_fn": "sanw_debias", "batching": "random", "sanw_delta": 0.3}
    one = config(**given)
    assert config(**{**defaults(), **dict(one.effective())}) == one
    one.save(tmp_path / "config.json")
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["loss"]["sanw_delta"] == 0.3 and saved["data"]["csv_group_key"] == "group"
