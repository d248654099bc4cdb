"""Image towers: what is frozen."""

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
