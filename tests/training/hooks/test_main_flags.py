"""Options that only the trainer of OpenCLIP's main has, beside ours: what does not work says why."""

from __future__ import annotations

from argparse import Namespace

import pytest

from hardpairs.core.errors import Exit, UserError
from hardpairs.training.config import TrainingConfig
from hardpairs.training.hooks.main_flags import check_main

OPTIONS = ("remine_every", "freeze_epochs", "save_every_steps", "peer_timeout")


def check(loss_fn: str = "clip_ce", **values: object) -> None:
    """Check a run with random batches on main."""
    ours = {"loss_fn": loss_fn, "batching": "random"}
    ours |= {name: values[name] for name in values if name in OPTIONS}
    others = {"model": "ViT-B-32", "fsdp": False, "fsdp_checkpoint": "full", "use_naflex": False}
    check_main(TrainingConfig.from_values(ours), Namespace(**{**others, **ours, **values}))


def test_the_trainer_of_a_release_has_none_of_them():
    check_main(
        TrainingConfig.from_values({"loss_fn": "clip_ce", "batching": "random"}),
        Namespace(model="ViT-B-32"),
    )
    check(fsdp=True)
    check(peer_timeout=30.0, save_every_steps=5)


@pytest.mark.parametrize(
    ("values", "says", "why"),
    [
        ({"model": "naflexclap_base_pf4_pt20"}, "naflexclap", "images and texts"),
        ({"model": "genlip_base"}, "genlip_base", "images and texts"),
        ({"use_naflex": True}, "--use-naflex", "planned rows"),
        ({"force_naflex_vision": True}, "--force-naflex-vision", "planned rows"),
        ({"dataset_type": "synthetic-audio"}, "--dataset-type synthetic-audio", "images"),
        ({"fsdp": True, "save_every_steps": 5}, "--save-every-steps", "no process has the whole"),
        ({"fsdp": True, "remine_every": 1}, "--remine-every", "no process has the whole model"),
        ({"fsdp": True, "freeze_epochs": 1}, "--freeze-epochs", "no process has the whole model"),
        ({"fsdp": True, "loss_fn": "supcon"}, "--loss-fn supcon", "the head"),
        ({"fsdp": True, "fsdp_checkpoint": "sharded"}, "--fsdp-checkpoint sharded", "resumed"),
    ],
)
def test_what_does_not_work_is_refused_with_its_reason(values, says, why):
    with pytest.raises(UserError) as refused:
        check(**values)
    assert refused.value.code == Exit.USAGE
    assert says in str(refused.value) and why in str(refused.value)


def test_texts_of_variable_length_are_refused(monkeypatch):
    from hardpairs.models import model_config

    monkeypatch.setattr(
        model_config, "model_config", lambda _: {"text_cfg": {"variable_text": True}}
    )
    with pytest.raises(UserError, match="texts of one length"):
        check()
