"""Heads of losses for labels: their labels, and what they take over from a checkpoint."""

from __future__ import annotations

import logging

import pytest
import torch

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.models.create import create_model_and_transforms
from hardpairs.models.model_config import register_configs
from hardpairs.training.config import HeadOptions
from hardpairs.training.heads import add_head, class_groups, embedding_width, make_head

MODEL = "hardpairs-test"


@pytest.fixture(scope="module", autouse=True)
def width() -> int:
    """The length of the model's features."""
    register_configs()
    return embedding_width(HeadOptions(), MODEL)


def open_labels(path, labels):
    lines = [f"{i}.jpg,{'' if label == '-' else 'a caption'},{label}" for i, label in labels]
    path.write_text("\n".join(["filepath,title,label", *lines]))
    return open_samples(path, group_key="label", unlabelled=("999",))


def test_labels_are_those_of_usable_rows(tmp_path):
    labels = ["7", "3", "7", "999", "", "-"]
    samples = open_labels(tmp_path / "t.csv", enumerate(labels))
    groups = class_groups(samples)
    assert groups.tolist() == sorted({samples.group(0), samples.group(1)})
    with pytest.raises(UserError, match="the data has 1 classes") as error:
        class_groups(open_labels(tmp_path / "one.csv", enumerate(["7", "7", "999"])))
    assert error.value.code == 3


def test_widths(width):
    assert embedding_width(HeadOptions(embed="mlp"), MODEL) == 2 * width
    assert embedding_width(HeadOptions(embed="mlp", projection=5), MODEL) == 5
    for options in (HeadOptions(embed="mlp"), HeadOptions(projection=5), HeadOptions()):
        assert make_head(options, MODEL).width == embedding_width(options, MODEL)


def with_head(options, group_ids=None, pretrained=None):
    model = create_model_and_transforms(MODEL)[0]
    return add_head(model, make_head(options, MODEL, torch.tensor(group_ids)), pretrained)


@pytest.fixture
def stored(tmp_path):
    """A checkpoint with a head for the groups 3 and 7, and the state of this head."""
    torch.manual_seed(0)
    model = with_head(HeadOptions(embed="mlp"), [3, 7])
    torch.save({"state_dict": model.state_dict()}, tmp_path / "model.pt")
    return str(tmp_path / "model.pt"), model.embedding_head.state_dict()


def test_a_head_of_the_same_shape_goes_on(stored, caplog):
    path, state = stored
    again = with_head(HeadOptions(embed="mlp"), [3, 7], path).embedding_head.state_dict()
    assert all(torch.equal(again[name], value) for name, value in state.items())
    other = with_head(HeadOptions(embed="mlp"), [3, 8], path).embedding_head.state_dict()
    assert "are of other classes" in caplog.text and other["class_ids"].tolist() == [3, 8]
    assert not torch.equal(other["class_weights"], state["class_weights"])
    assert torch.equal(other["mlp.0.weight"], state["mlp.0.weight"])


def test_a_head_of_another_shape_starts_anew(stored, caplog):
    path, state = stored
    with caplog.at_level(logging.WARNING):
        head = with_head(HeadOptions(embed="mlp", mlp_layers=3), [3, 7], path).embedding_head
    assert "other layers" in caplog.text
    assert not torch.equal(head.state_dict()["mlp.0.weight"], state["mlp.0.weight"])
