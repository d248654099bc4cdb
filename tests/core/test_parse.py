"""JSON and YAML of strangers: a value, or ValueError."""

import pytest

from hardpairs.core.parse import parse_json, parse_yaml


def test_values():
    assert parse_json('{"a": [1, null]}') == parse_json(b'{"a": [1, null]}') == {"a": [1, None]}
    assert parse_yaml("a: [1, ~]") == {"a": [1, None]}


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"a":' * 100_000, b"\xff\xfe\xff", "9" * 5000, "nan"]
)
def test_json_that_is_none(text):
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1000,
        "a: [",
        "a: !!python/object:os.system x",
        "\0",
        "a: 2020-99-99",
        "? [a]: b\n<<: 5",
    ],
)
def test_yaml_that_is_none(text):
    with pytest.raises(ValueError):
        parse_yaml(text)
