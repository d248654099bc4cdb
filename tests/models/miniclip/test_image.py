"""Image towers: what is frozen, what they compute, and where they start."""

import pytest
import torch

from hardpairs.models.create import freeze_statistics
from tests.models.miniclip.helpers import make


def test_the_last_twenty_tensors_of_resnet18_are_trained():
    backbone = make("miniclip-lstm").visual.backbone
    trained = [name for name, parameter in backbone.named_parameters() if parameter.requires_grad]
    assert len(trained) == 20 and {name.split(".")[0] for name in trained} == {"layer3", "layer4"}
    assert [name for name in trained if name.startswith("layer3")] == [
        f"layer3.1.{rest}"
        for rest in ("bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias")
    ]


def test_statistics_move_in_frozen_layers_unless_frozen_too():
    for freeze, moves in ((False, True), (True, False)):
        model = make("miniclip-lstm", words=["a"])
        if freeze:
            assert freeze_statistics(model) is model
        model.train()
        before = {name: value.clone() for name, value in model.visual.named_buffers()}
        model.encode_image(torch.rand(2, 3, 64, 64))
        changed = {
            name
            for name, value in model.visual.named_buffers()
            if not torch.equal(value, before[name])
        }
        assert changed == (set(before) if moves else set())
        assert model.visual.head[1].weight.requires_grad


def test_the_cnn_is_miniclips():
    """Its parameters and the images between its layers, counted by hand for 224 pixels."""
    visual = make("miniclip-lstm-cnn").visual
    assert sum(parameter.numel() for parameter in visual.parameters()) == 1_955_584
    shapes = []
    for block in visual.backbone[:4]:
        block.register_forward_hook(lambda _, inputs, output: shapes.append(tuple(output.shape)))
    visual.eval()(torch.rand(1, 3, 224, 224))
    assert shapes == [(1, 64, 56, 56), (1, 128, 28, 28), (1, 256, 14, 14), (1, 512, 7, 7)]


def test_towers_start_as_miniclips_do():
    """The head's last layer by its 256 outputs, and a first token of deviation 1."""
    model = make("miniclip-transformer-cnn")
    last = model.visual.head[4]
    assert last.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.01)
    assert not last.bias.any() and 0.8 < model.text.first.std().item() < 1.2
