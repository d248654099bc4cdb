"""Encoders by name, and halves that make a whole."""

import dataclasses
from importlib.metadata import EntryPoint

import pytest

from hardpairs.core.components import Registry
from hardpairs.core.errors import UserError
from hardpairs.models.encoders import ENCODERS, open_encoders


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "nothing embeds the images"),
        ({"image_encoder": "timm/test_vit"}, "nothing embeds the captions"),
        ({"model": "RN50"}, "needs its weights"),
        ({"model": "RN50", "image_encoder": "a", "text_encoder": "b"}, "`model` embeds nothing"),
        ({"model": "RN50", "pretrained": "none", "image_size": 64}, "go with `image_encoder`"),
    ],
)
def test_halves_that_do_not_make_a_whole(options, says):
    with pytest.raises(UserError, match=says) as error:
        open_encoders(**options)
    assert error.value.code == 2


def test_halves_of_different_models_are_not_one_space():
    both = open_encoders(
        model="hardpairs-test",
        pretrained="none",
        captions=["a"],
        image_encoder="timm/test_vit",
        image_weights="none",
    )
    assert not both.one_space and both.description["one_space"] is False
    assert both.description["model"] == "timm/test_vit + hardpairs-test"
    assert both.description["preprocess"]["input_size"] == [3, 160, 160]


def test_every_encoder_is_declared_as_it_is():
    assert {"openclip", "timm", "sentence-transformers"} <= set(ENCODERS)
    for name, declaration in ENCODERS.items():
        component = declaration.load()
        assert component.name == name and declaration.summary
        fields = {field.name: field.default for field in dataclasses.fields(component.Config)}
        assert fields == {option.field: option.default for option in declaration.options}


OWN_ENCODER = '''
from dataclasses import dataclass

import torch

from hardpairs.core.components import Options, option, register
from hardpairs.models.encoders import TextEncoder


@register("letters")
class Letters(TextEncoder):
    """Counts of letters."""

    @dataclass(frozen=True)
    class Config(Options):
        name: str = option("", "letters/ALPHABET")

    @classmethod
    def from_config(cls, config, context):
        alphabet = config.name.removeprefix("letters/")

        def encode(captions):
            return torch.tensor([[float(text.count(c)) for c in alphabet] for text in captions])

        return cls(list, encode, {"model": config.name, "weights": "none", "preprocess": {}})
'''


def test_a_users_package_adds_an_encoder(tmp_path, monkeypatch):
    (tmp_path / "own_encoders.py").write_text(OWN_ENCODER)
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("letters", "own_encoders:Letters", "hardpairs.encoders")
    monkeypatch.setattr("hardpairs.core.components.entry_points", lambda group: [entry])
    registry = Registry("encoder", "hardpairs.models.encoders", "hardpairs.encoders")
    monkeypatch.setattr("hardpairs.models.encoders.ENCODERS", registry)
    both = open_encoders(
        image_encoder="timm/test_vit", image_weights="none", text_encoder="letters/abc"
    )
    assert both.text.encode(both.text.prepare(["a cab"])).tolist() == [[2.0, 1.0, 1.0]]
    assert both.description["model"] == "timm/test_vit + letters/abc" and not both.one_space


def test_an_option_that_the_encoder_does_not_read_is_refused():
    with pytest.raises(UserError, match="does not read `image_size`") as error:
        open_encoders(
            image_encoder="sentence-transformers/x", image_size=64, text_encoder="letters"
        )
    assert error.value.code == 2
