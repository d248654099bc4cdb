"""What moves in training and what does not: by the checkpoints of real runs, on one process and two."""

import json

import open_clip
import pytest
import torch
from open_clip.timm_model import TimmModel
from torch import nn

from hardpairs.core.errors import UserError
from hardpairs.models.checkpoint import load_checkpoint
from hardpairs.models.create import create_model_and_transforms, freeze_statistics
from hardpairs.training.freezing import (
    freeze,
    has_moving_statistics,
    head_groups,
    is_head,
    refuse_lost_activations,
    thaw,
)
from tests.training.test_trainer import COMMA, SAME_PIXELS, checkpoint, train

HEAD = {"logit_scale", "text_projection", "visual.attnpool"}


def moved(before: dict, after: dict) -> set[str]:
    """Entries of two checkpoints that differ, batch norms' counters left out; names cut to their part of the model."""
    first, second = before["state_dict"], after["state_dict"]
    names = {name.removeprefix("module.") for name in first}
    differ = {
        name for name in names if not torch.equal(*(_of(state, name) for state in (first, second)))
    }
    return {
        ".".join(name.split(".")[: 2 if name.startswith("visual") else 1])
        for name in differ
        if not name.endswith("num_batches_tracked")
    }


def _of(state: dict, name: str) -> torch.Tensor:
    return state[name] if name in state else state[f"module.{name}"]


def flags(table, checkpoint_file, *more):
    data = (
        "--train-data",
        str(table),
        *COMMA,
        "--batching",
        "random",
        "--pretrained",
        str(checkpoint_file),
    )
    return (*data, "--lr", "0.01", "--max-steps", "4", "--epochs", "2", *SAME_PIXELS, *more)


@pytest.mark.parametrize("processes", [0, 2])
def test_a_frozen_backbone_does_not_move_until_it_thaws(
    table, checkpoint_file, tmp_path, processes
):
    size = ("--batch-size", str(20 // max(processes, 1)))
    done = train(
        tmp_path,
        "run",
        *flags(table, checkpoint_file, "--freeze-backbone", "--freeze-epochs", "1"),
        *size,
        processes=processes,
    )
    assert done.returncode == 0, done.stderr
    start, first, second = (
        load_checkpoint(checkpoint_file),
        checkpoint(tmp_path, "run", 1),
        checkpoint(tmp_path, "run", 2),
    )
    assert moved(start, first) == HEAD  # batch norms' statistics included
    assert {
        "visual.layer1",
        "visual.conv1",
        "visual.bn1",
        "transformer",
        "token_embedding",
    } | HEAD <= moved(first, second)
    assert "more parameters are trained" in done.stderr


def test_locked_towers_thaw_and_their_free_groups_move_at_once(table, checkpoint_file, tmp_path):
    lock = (
        "--lock-image",
        "--lock-text",
        "--lock-text-unlocked-layers",
        "1",
        "--freeze-epochs",
        "1",
    )
    done = train(tmp_path, "run", *flags(table, checkpoint_file, *lock), "--batch-size", "20")
    assert done.returncode == 0, done.stderr
    first, second = checkpoint(tmp_path, "run", 1), checkpoint(tmp_path, "run", 2)
    assert moved(load_checkpoint(checkpoint_file), first) == {"logit_scale", "text_projection"}
    assert "visual.layer1" in moved(first, second)


def test_groups_of_a_vision_transformer_are_left_free(table, tmp_path):
    """OpenCLIP counts groups from the end: the first is the projection, the second the last block with the norm after it."""
    sizes = {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 16}
    config = {
        "embed_dim": 16,
        "vision_cfg": sizes,
        "text_cfg": {"context_length": 12, "width": 32, "heads": 2, "layers": 2},
    }
    (tmp_path / "small-vit.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "small-vit.json")
    start = open_clip.create_model("small-vit").state_dict()
    (tmp_path / "model").mkdir()
    (tmp_path / "model/open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {}})
    )
    torch.save(start, tmp_path / "model/open_clip_pytorch_model.bin")
    data = (
        "--train-data",
        str(table),
        *COMMA,
        "--batching",
        "random",
        "--batch-size",
        "20",
        "--lr",
        "0.01",
        "--max-steps",
        "2",
    )
    lock = (
        "--lock-image",
        "--lock-image-unlocked-groups",
        "2",
        "--lock-text",
        "--model",
        f"local-dir:{tmp_path / 'model'}",
    )
    done = train(tmp_path, "run", *data, *lock, *SAME_PIXELS)
    assert done.returncode == 0, done.stderr
    after = checkpoint(tmp_path, "run", 1)
    assert moved({"state_dict": start}, after) == {
        "logit_scale",
        "visual.proj",
        "visual.transformer",
        "visual.ln_post",
    }
    blocks = {
        name.split(".")[3]
        for name in start
        if "visual.transformer" in name and not torch.equal(start[name], after["state_dict"][name])
    }
    assert blocks == {"2"}


@pytest.fixture
def checkpoint_file(checkpoint):
    return checkpoint


@pytest.fixture
def model(checkpoint):
    return create_model_and_transforms("hardpairs-test", str(checkpoint))[0].train()


def freeze_model(model, backbone=False, epochs=None):
    freeze(model, backbone=backbone, epochs=epochs)


def test_frozen_batch_norms_keep_their_statistics(model):
    freeze_model(model, backbone=True)
    before = {name: value.clone() for name, value in model.named_buffers()}
    model.train()(torch.randn(4, 3, 32, 32), torch.ones(4, 12, dtype=torch.long))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    freeze_model(other := create_model_and_transforms("hardpairs-test")[0].train())
    mean = other.visual.bn1.running_mean.clone()
    other(torch.randn(4, 3, 32, 32), torch.ones(4, 12, dtype=torch.long))
    assert not torch.equal(other.visual.bn1.running_mean, mean)


def test_thawing_is_by_epoch_however_it_is_entered(model):
    freeze_model(model, backbone=True, epochs=3)
    for epoch, frozen in (
        (0, True),
        (2, True),
        (3, False),
        (1, True),
        (7, False),
    ):  # a resumed run may start anywhere
        assert thaw(model, epoch) == (epoch == 3)
        assert all(
            parameter.requires_grad == (not frozen or is_head(name))
            for name, parameter in model.named_parameters()
        )


def test_statistics_that_training_moves(model):
    assert has_moving_statistics(model.eval()) and not model.training
    assert not has_moving_statistics(freeze_statistics(model))
    small = create_model_and_transforms("miniclip-lstm")[0]
    assert has_moving_statistics(small) and not has_moving_statistics(freeze_statistics(small))
    backbone = create_model_and_transforms("hardpairs-test")[0]
    freeze_model(backbone, backbone=True)
    assert not has_moving_statistics(backbone)


def test_what_the_architecture_freezes_never_thaws():
    from hardpairs.training.hooks.build import create_model_and_transforms

    small = create_model_and_transforms("miniclip-lstm", None)[0]
    kept = {name for name, parameter in small.named_parameters() if not parameter.requires_grad}
    freeze_model(small, backbone=True, epochs=1)
    thaw(small, 0)
    assert not any(
        parameter.requires_grad for name, parameter in small.named_parameters() if not is_head(name)
    )
    thaw(small, 1)
    assert {
        name for name, parameter in small.named_parameters() if not parameter.requires_grad
    } == kept and kept


def test_the_head_has_its_own_rate(model):
    """A step of SGD is the gradient times the rate: heads move by their own, under any schedule."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    head_groups(optimizer, model, rate=0.1, head_rate=0.3)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for rate in (0.1, 0.05):
        for group in optimizer.param_groups:
            group["lr"] = rate  # as OpenCLIP's schedule does
        optimizer.step()
    for name, parameter in model.named_parameters():
        expected = 0.45 if is_head(name) else 0.15
        torch.testing.assert_close(
            before[name] - parameter, torch.full_like(parameter, expected), msg=name
        )


def test_everything_frozen_is_refused(model):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(UserError, match="nothing is left to train"):
        freeze_model(model)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--freeze-epochs", "1"), "nothing is frozen"),
        (("--freeze-backbone", "--freeze-epochs", "0"), "at least 1"),
        (("--head-lr", "0"), "above 0"),
        (
            ("--freeze-backbone", "--freeze-epochs", "1", "--ddp-static-graph"),
            "--ddp-static-graph does not work together",
        ),
    ],
)
def test_flags_that_make_no_sense(table, more, says):
    from hardpairs.training.upstream import patched

    with pytest.raises(UserError) as error:
        patched("params").parse_args(
            [
                "--model",
                "hardpairs-test",
                "--train-data",
                str(table),
                *COMMA,
                "--batch-size",
                "8",
                *more,
            ]
        )
    assert says in error.value.text()


def test_statistics_are_not_frozen_where_openclip_would_drop_activations():
    model = nn.Module()
    model.visual = TimmModel("tf_efficientnet_lite0", 8, image_size=32, pretrained=False)
    refuse_lost_activations(model)
    with pytest.raises(UserError, match="activations") as refused:
        model.visual.lock(freeze_bn_stats=True)
    assert refused.value.code == 2 and "freeze_bn_stats" in str(refused.value)
    model.visual.lock()
    assert not any(p.requires_grad for p in model.visual.trunk.parameters())
